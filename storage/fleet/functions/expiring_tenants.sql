-- Whose waiting jobs have passed their deadline. As due_tenants. Index: queue_expiring_of_tenant.
create or replace function headrace.expiring_tenants(
    p_after uuid, p_look integer, p_limit integer, out tenants uuid[], out looked_to uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_bitmapscan = off as $$
declare
    v_now constant timestamptz := headrace.now();
    v_at timestamptz;
begin
    tenants := '{}';
    looked_to := p_after;
    for i in 1 .. p_look loop
        select q.tenant_id, q.deadline into looked_to, v_at from headrace.queue q
        where q.state <> 'running' and q.deadline is not null and q.tenant_id > looked_to
        order by q.tenant_id, q.deadline limit 1;
        exit when looked_to is null;
        if v_at <= v_now then tenants := tenants || looked_to; end if;
        exit when cardinality(tenants) >= p_limit;
    end loop;
end $$;
