-- One heartbeat of a scheduler; the first registers the process. Index: primary key.
insert into headrace.schedulers (id, host, pid, woken_by) values (%(id)s, left(%(host)s, 300), %(pid)s, %(woken_by)s)
on conflict (id) do update set heartbeat_at = headrace.now(), woken_by = excluded.woken_by;
