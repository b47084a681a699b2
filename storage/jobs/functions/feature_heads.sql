-- The features that a tenant has queued in a lane, each with its first job, but for those that are paused. cap_key: of
-- the feature's concurrency cap, if it has one; has_room: it has none, or a slot of it is free.
-- A loose index scan of queue_by_feature: one seek a feature, however many jobs are behind its first.
-- Wherever one feature is looked at, it stands as `between` with the feature first in the order: only queue_by_feature
-- has that order. With `=` the planner may walk queue_next instead, past all that is before the feature's first job.
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
