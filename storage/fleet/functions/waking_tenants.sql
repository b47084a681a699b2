-- Who has left notes. As due_tenants; all that are looked at have some. Index: wakes_of_tenant.
create or replace function headrace.waking_tenants(
    p_after uuid, p_limit integer, out tenants uuid[], out looked_to uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_bitmapscan = off as $$
begin
    tenants := '{}';
    looked_to := p_after;
    for i in 1 .. p_limit loop
        select w.tenant_id into looked_to from headrace.wakes w where w.tenant_id > looked_to order by w.tenant_id, w.id
        limit 1;
        exit when looked_to is null;
        tenants := tenants || looked_to;
    end loop;
end $$;
