-- Who has jobs in lists: of the tenants after p_after (by id), p_limit. looked_to: the last of them; null when there
-- are no more. One seek each. Index: queue_waiting.
create or replace function headrace.waiting_tenants(
    p_after uuid, p_limit integer, out tenants uuid[], out looked_to uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_bitmapscan = off as $$
begin
    tenants := '{}';
    looked_to := p_after;
    for i in 1 .. p_limit loop
        select q.tenant_id into looked_to from headrace.queue q
        where q.waits_for is not null and q.tenant_id > looked_to order by q.tenant_id, q.waits_for limit 1;
        exit when looked_to is null;
        tenants := tenants || looked_to;
    end loop;
end $$;
