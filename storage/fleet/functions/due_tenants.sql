-- Whose scheduled jobs are due: of the tenants after p_after (by id) that have scheduled jobs, p_look are looked at, or
-- so many that p_limit of them have some. looked_to: the last of them; null when there are no more. One seek each.
-- Index: queue_due_of_tenant.
create or replace function headrace.due_tenants(
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
        select q.tenant_id, q.run_at into looked_to, v_at from headrace.queue q
        where q.state = 'scheduled' and q.waits_for is null and q.tenant_id > looked_to
        order by q.tenant_id, q.run_at limit 1;
        exit when looked_to is null;
        if v_at <= v_now then tenants := tenants || looked_to; end if;
        exit when cardinality(tenants) >= p_limit;
    end loop;
end $$;
