-- One window of a walk over jobs, in the order of their ids: of the next looked_at jobs those that fit, how many were
-- seen, and the last of them. Bounded by looked_at, whatever fits. Indexes: jobs_by_tenant, jobs_dead_letters where
-- only failed jobs are wanted, the primary key where no tenant is given; the bounds on the id prune partitions. A
-- condition on a parameter that is null or false is gone when the statement is planned.
with seen as materialized (
    select j.id, j.tenant_id, j.user_id, j.feature, j.lane, j.outcome, j.created_at
    from headrace.jobs j
    where (%(tenant_id)s::uuid is null or j.tenant_id = %(tenant_id)s)
      and (not %(only_failed)s or j.outcome = 'failed')
      and j.id > %(after)s and j.id < %(before)s
    order by j.id limit %(looked_at)s
),
fits as (
    select s.id, s.tenant_id, coalesce(s.outcome, q.state) as state
    from seen s
    left join lateral (  -- job by job: a join would read the whole queue for each window
        select x.state from headrace.queue x
        where s.outcome is null and x.id = s.id and x.tenant_id = s.tenant_id limit 1) q on true
    where (%(states)s::text[] is null or coalesce(s.outcome, q.state) = any (%(states)s::text[]))
      and (%(feature)s::text is null or s.feature = %(feature)s)
      and (%(user_id)s::text is null or s.user_id = %(user_id)s)
      and (%(lane)s::text is null or s.lane = %(lane)s)
      and (%(since)s::timestamptz is null or s.created_at >= %(since)s)
      and (%(until)s::timestamptz is null or s.created_at < %(until)s)
)
select (select count(*) from seen) as seen,
       (select s.id from seen s order by s.id desc limit 1) as last,
       array_agg(f.id order by f.id) as ids,
       array_agg(f.tenant_id order by f.id) as tenant_ids,
       array_agg(f.state order by f.id) as states
from fits f;
