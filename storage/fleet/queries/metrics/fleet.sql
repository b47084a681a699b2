-- Live processes: those that take work and their threads, those that drain, and the oldest of their last heartbeats;
-- live schedulers. And how late the schedulers are: for how long what is due, overdue, past its deadline or noted by a
-- foreign transaction has been so. The first note is not always the oldest, since a transaction may commit late.
-- Indexes: workers_alive, queue_due, queue_overdue, queue_expiring, the primary key of wakes.
select count(*) filter (where w.draining_at is null)::integer as working,
       count(*) filter (where w.draining_at is not null)::integer as draining,
       coalesce(sum(w.threads) filter (where w.draining_at is null), 0)::integer as threads,
       coalesce(extract(epoch from headrace.now() - min(w.heartbeat_at)), 0)::float8 as oldest_heartbeat_s,
       (select count(*) from headrace.schedulers s
        where s.stopped_at is null and s.heartbeat_at >= headrace.now() - make_interval(secs => %(silent_s)s))::integer
            as schedulers,
       coalesce(extract(epoch from headrace.now() - least(
           (select min(q.run_at) from headrace.queue q where q.state = 'scheduled' and q.waits_for is null),
           (select min(q.claim_deadline) from headrace.queue q where q.state = 'running'),
           (select min(q.deadline) from headrace.queue q where q.deadline is not null and q.state <> 'running'),
           (select n.created_at from headrace.wakes n order by n.id limit 1))), 0)::float8
           as behind_s
from headrace.workers w
where w.stopped_at is null and w.heartbeat_at >= headrace.now() - make_interval(secs => %(silent_s)s);
