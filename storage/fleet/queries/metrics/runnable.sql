-- Runnable jobs by lane: queued, neither tenant, lane nor feature is paused, and a slot is free where a concurrency cap
-- binds the lane or the feature. No more than `most` are looked at, shared out evenly over tenants and lanes (`of_each`
-- of one at least). And how long the job that is next of its tenant has waited, the longest of all.
with pairs as (select q.tenant_id, q.lane from headrace.queued_lanes() q),
of_each as (
    select p.lane, least(c.jobs, s.free) as jobs, c.next_id, p.tenant_id  -- no cap: s.free is null
    from pairs p
    join headrace.tenants t on t.id = p.tenant_id and t.paused_at is null
    join headrace.lanes l on l.name = p.lane and l.paused_at is null
    cross join lateral (
        select r.jobs, r.next_id from headrace.runnable_jobs(
            p.tenant_id, p.lane, greatest(%(of_each)s, %(most)s / (select count(*) from pairs))::integer) r) c
    left join lateral (
        select (select count(*) from headrace.slots x where x.cap_key = k.key and x.claim_id is null) as free
        from headrace.cap_key_of(p.tenant_id, 'lane', p.lane) k(key) where k.key is not null) s on true
    where least(c.jobs, s.free) > 0
)
select l.name as lane, coalesce(sum(e.jobs), 0)::bigint as runnable,
       coalesce(extract(epoch from headrace.now() - min(greatest(j.created_at, j.run_at))), 0)::float8 as longest_s
from headrace.lanes l
left join of_each e on e.lane = l.name
left join headrace.jobs j on j.id = e.next_id and j.tenant_id = e.tenant_id
where l.retired_at is null or e.lane is not null
group by l.name order by l.name;
