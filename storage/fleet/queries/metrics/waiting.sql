-- Scheduled jobs by their reason: of those that wait for a time and of those that wait for room, no more than `most`
-- each are looked at, the soonest first. Indexes: queue_due, queue_waiting.
select w.reason, count(*)::bigint as jobs from (
    (select q.reason from headrace.queue q where q.state = 'scheduled' and q.waits_for is null order by q.run_at
        limit %(most)s)
    union all
    (select q.reason from headrace.queue q where q.state = 'scheduled' and q.waits_for is not null
     order by q.tenant_id, q.waits_for, q.lane, q.rank, q.id limit %(most)s)) w
group by w.reason order by w.reason;
