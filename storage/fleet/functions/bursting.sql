-- What could use more slots, of the caps with burst: how many jobs wait, and how many of them beyond the free slots
-- there are (up to p_most); lanes: where they wait. Indexes: queue_next, queue_by_feature, slots_free.
create or replace function headrace.bursting(p_most integer)
returns table (tenant_id uuid, lanes text[], cap_key text, weight numeric, waiting integer, want integer)
language sql stable as $$
    select c.tenant_id, w.lanes, k.key, coalesce(t.weight, p.weight),
           w.waiting::integer, greatest(w.waiting - f.free, 0)::integer
    from headrace.concurrency c
    join headrace.tenants t on t.id = c.tenant_id
    join headrace.plans p on p.name = t.plan
    cross join lateral headrace.slot_key(c.tenant_id, c.scope, c.key) k(key)
    cross join lateral (
        select count(*) as free from headrace.slots s where s.cap_key = k.key and s.claim_id is null) f
    cross join lateral (
        select count(*) as waiting, array_agg(distinct x.lane) as lanes from (
            (select q.lane from headrace.queue q
             where c.scope = 'lane' and q.tenant_id = c.tenant_id and q.lane = c.key and q.state = 'queued'
             limit p_most + f.free)
            union all
            select y.lane from headrace.lanes l cross join lateral (
                select q.lane from headrace.queue q
                where c.scope = 'feature' and q.tenant_id = c.tenant_id and q.lane = l.name and q.feature = c.key
                  and q.state = 'queued' limit p_most + f.free) y) x
        where t.paused_at is null and not exists (
            select from headrace.features f where c.scope = 'feature' and f.name = c.key and f.paused_at is not null)) w
    where c.burst;
$$;
