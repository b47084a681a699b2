-- The features that a tenant has queued in a lane, each with its first job, but for those that are paused. cap_key: of the
-- feature's concurrency cap, if it has one; has_room: it has none, or a slot of it is free.
-- A loose index scan of queue_by_feature: one seek a feature, however many jobs are behind its first.
-- Wherever one feature is looked at, it stands as `between` with the feature first in the order: only queue_by_feature has that
-- order. With `=` the planner may walk queue_next instead, past all that is before the feature's first job.
create or replace function headrace.feature_heads(p_tenant uuid, p_lane text)
returns table (feature text, rank bigint, id uuid, cap_key text, has_room boolean) language sql stable as $$
    with recursive heads as (
        (select q.feature, q.rank, q.id from headrace.queue q
         where q.tenant_id = p_tenant and q.lane = p_lane and q.state = 'queued'
         order by q.feature, q.rank, q.id limit 1)
        union all
        select n.feature, n.rank, n.id from heads h cross join lateral (
            select q.feature, q.rank, q.id from headrace.queue q
            where q.tenant_id = p_tenant and q.lane = p_lane and q.state = 'queued' and q.feature > h.feature
            order by q.feature, q.rank, q.id limit 1) n
    )
    select h.feature, h.rank, h.id, case when c.key is not null then headrace.slot_key(p_tenant, 'feature', c.key) end,
           c.key is null or coalesce((  -- a seek in slots_free, and with the limit nothing else
               select true from headrace.slots s
               where s.cap_key = headrace.slot_key(p_tenant, 'feature', c.key) and s.claim_id is null limit 1), false)
    from heads h
    left join headrace.concurrency c on c.tenant_id = p_tenant and c.scope = 'feature' and c.key = h.feature
    where not exists (select from headrace.features f where f.name = h.feature and f.paused_at is not null);
$$;

-- Whether claims look at the features of a tenant's lane one by one: some may have to be skipped. One seek for each paused
-- feature. Limit and order keep it so: without the limit the planner may join the features to all that the tenant has queued,
-- without the order it may read by another index until it meets one.
create or replace function headrace.has_walls(p_tenant uuid, p_lane text) returns boolean language sql stable
return exists (select from headrace.concurrency c where c.tenant_id = p_tenant and c.scope = 'feature')
    or exists (select from headrace.features f cross join lateral (
        select from headrace.queue x
        where x.tenant_id = p_tenant and x.lane = p_lane and x.feature between f.name and f.name and x.state = 'queued' order by x.feature, x.rank, x.id limit 1) x
        where f.paused_at is not null);

-- How many jobs of a tenant's lane could be claimed now as far as their features are concerned, counted up to p_most: of each
-- feature no more than it has free slots. And the first of them.
create or replace function headrace.runnable_jobs(p_tenant uuid, p_lane text, p_most integer, out jobs integer, out next_id uuid)
language plpgsql stable as $$
begin
    if not headrace.has_walls(p_tenant, p_lane) then
        select count(*), (array_agg(w.id))[1] into jobs, next_id from (
            select q.id from headrace.queue q
            where q.tenant_id = p_tenant and q.lane = p_lane and q.state = 'queued'
            order by q.rank, q.id limit p_most) w;  -- by queue_next, never past what is scheduled in queue_of_user
        return;
    end if;
    select least(coalesce(sum(c.jobs), 0), p_most), (array_agg(h.id order by h.rank, h.id))[1] into jobs, next_id
    from headrace.feature_heads(p_tenant, p_lane) h
    cross join lateral (
        select count(*) as jobs from (
            select from headrace.queue q
            where q.tenant_id = p_tenant and q.lane = p_lane and q.feature between h.feature and h.feature and q.state = 'queued'
            order by q.feature, q.rank, q.id
            limit least(p_most, case when h.cap_key is not null then (
                select count(*) from headrace.slots s where s.cap_key = h.cap_key and s.claim_id is null) end)) w) c
    where h.has_room;
end $$;
