-- Live processes: those that take work and their threads, those that drain, and the oldest of their last heartbeats. And how
-- late the scheduler is: for how long what is due, overdue or past its deadline has been so. Indexes: workers_alive,
-- queue_due, queue_overdue, queue_expiring.
select count(*) filter (where w.draining_at is null)::integer as working,
       count(*) filter (where w.draining_at is not null)::integer as draining,
       coalesce(sum(w.threads) filter (where w.draining_at is null), 0)::integer as threads,
       coalesce(extract(epoch from headrace.now() - min(w.heartbeat_at)), 0)::float8 as oldest_heartbeat_s,
       coalesce(extract(epoch from headrace.now() - least(
           (select min(q.run_at) from headrace.queue q where q.state = 'scheduled' and q.waits_for is null),
           (select min(q.claim_deadline) from headrace.queue q where q.state = 'running'),
           (select min(q.deadline) from headrace.queue q where q.deadline is not null and q.state <> 'running'))), 0)::float8
           as behind_s
from headrace.workers w
where w.stopped_at is null and w.heartbeat_at >= headrace.now() - make_interval(secs => %(silent_s)s);
