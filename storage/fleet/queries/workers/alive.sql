-- Live processes, how many jobs each runs, and what it says of its providers. Indexes: workers_alive, queue_by_worker.
select w.id, w.host, w.pid, w.threads, w.started_at, w.heartbeat_at, w.draining_at is not null as draining, w.providers,
       (select count(*)::integer from headrace.queue q where q.worker_id = w.id and q.state = 'running') as running
from headrace.workers w
where w.stopped_at is null and w.heartbeat_at >= headrace.now() - make_interval(secs => %s)
order by w.started_at;
