-- A tenant has a job that waits for a slot of a model: it is among those who get one. Whoever comes back starts where
-- the others are, so being away saves nothing up.
create or replace function headrace.waits_for_model(p_tenant uuid, p_cap_key text) returns void language sql as $$
    insert into headrace.slot_shares as h (cap_key, of_tenant, tag)
    select p_cap_key, p_tenant, coalesce((select min(o.tag) from headrace.slot_shares o
        where o.cap_key = p_cap_key and o.waiting), 0)
    where not exists (select from headrace.slot_shares o
        where o.cap_key = p_cap_key and o.of_tenant = p_tenant and o.waiting)
    on conflict (cap_key, of_tenant) do update set waiting = true, tag = greatest(h.tag, excluded.tag);
$$;
