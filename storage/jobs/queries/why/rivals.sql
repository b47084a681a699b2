-- The other tenants with runnable work on a lane, at most `tenants` of them: weight, jobs that are queued, and whether
-- there are more than were looked at: `most` in all, shared out evenly (`of_each` of one at least).
with rivals as (
    select p.tenant_id, coalesce(t.weight, l.weight)::float8 as weight
    from headrace.queued_lanes() p
    join headrace.tenants t on t.id = p.tenant_id and t.paused_at is null
    join headrace.plans l on l.name = t.plan
    where p.lane = %(lane)s and p.tenant_id <> %(tenant_id)s limit %(tenants)s
)
select r.tenant_id, r.weight, c.jobs, c.jobs >= c.allowed as more from rivals r cross join lateral (
    select j.jobs, a.allowed
    from (select greatest(%(of_each)s, %(most)s / (select count(*) from rivals))::integer as allowed) a,
         headrace.runnable_jobs(r.tenant_id, %(lane)s, a.allowed) j) c
where c.jobs > 0;
