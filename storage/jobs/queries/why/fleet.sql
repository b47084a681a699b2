-- The live workers that take work, their threads, and how many jobs run. Indexes: workers_alive, queue_by_worker (as
-- many entries as jobs run).
select count(*)::integer as workers, coalesce(sum(w.threads), 0)::integer as threads,
       (select count(*) from headrace.queue q where q.state = 'running')::integer as running
from headrace.workers w
where w.stopped_at is null and w.draining_at is null
  and w.heartbeat_at >= headrace.now() - make_interval(secs => %(silent_s)s);
