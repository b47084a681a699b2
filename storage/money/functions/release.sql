-- A claim lets go: calls of which nothing was heard become *unknown*, charged at the reserved worst case (index
-- runs_by_job); what it still holds under the caps is given back. Returns how many calls became unknown.
create or replace function headrace.release(p_tenant uuid, p_job uuid, p_claim uuid, v_now timestamptz)
returns integer language plpgsql as $$
declare
    r headrace.reservations;
    v_open uuid;
    v_unknown integer := 0;
begin
    for v_open in select o.id from headrace.runs o
                  where o.job_id = p_job and o.claim_id = p_claim and o.status = 'started' and o.tenant_id = p_tenant
                  order by o.id loop
        perform headrace.settle_run(p_tenant, jsonb_build_object('id', v_open, 'status', 'unknown',
                                                                 'error_code', 'worker_lost'), v_now);
        v_unknown := v_unknown + 1;
    end loop;
    delete from headrace.reservations where claim_id = p_claim and tenant_id = p_tenant returning * into r;
    if r.amount_usd > 0 then
        perform headrace.book(p_tenant, headrace.lock_caps(p_tenant, r.user_id, r.feature), v_now, 0, -r.amount_usd);
    end if;
    return v_unknown;
end $$;
