-- One heartbeat; the first registers the process. Index: primary key (the update is HOT but for workers_alive).
insert into headrace.workers (id, host, pid, threads, providers) values (%s, %s, %s, %s, %s)
on conflict (id) do update set heartbeat_at = headrace.now(), providers = excluded.providers;
