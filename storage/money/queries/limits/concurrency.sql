-- The concurrency caps of a tenant (null: of models), or only that of one feature: how many slots each has, how many
-- are taken (more than there are, while what runs under a cap that was lowered ends), how many it is lent while threads
-- are idle, and how many jobs wait for one. A queued job waits for a slot of its lane or feature where it is. Indexes:
-- the primary key of slots, queue_next, queue_by_feature, queue_waiting.
select c.scope, c.key, c.slots, c.burst, s.lent, s.taken, w.waiting
from headrace.concurrency c
cross join lateral (
    select count(*) filter (where x.claim_id is not null) as taken,
           count(*) filter (where x.lent and not x.retired) as lent
    from headrace.slots x where x.cap_key = headrace.slot_key(c.tenant_id, c.scope, c.key)) s
cross join lateral (
    select count(*) as waiting from headrace.queue q
    where c.scope = 'lane' and q.tenant_id = c.tenant_id and q.lane = c.key and q.state = 'queued'
       or c.scope = 'feature' and q.tenant_id = c.tenant_id and q.feature = c.key and q.state = 'queued'
       or c.scope = 'model' and q.waits_for = 'slot:model:' || c.key and q.state = 'scheduled') w
where c.tenant_id is not distinct from %(tenant_id)s and (%(feature)s::text is null or c.scope = 'feature'
    and c.key = %(feature)s)
order by array_position(array['lane', 'feature', 'model'], c.scope), c.key;
