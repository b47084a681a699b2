-- What a claim holds for calls that have not begun, USD: its reservation without that of its open runs. Null: it has
-- reserved nothing yet. Open runs are looked for only beside a reservation: that look is at every partition of runs.
-- Indexes: the primary key of reservations, runs_by_job.
create or replace function headrace.held_by_claim(p_tenant uuid, p_job uuid, p_claim uuid)
returns numeric language plpgsql stable as $$
declare
    v_held numeric;
begin
    select r.amount_usd into v_held from headrace.reservations r where r.claim_id = p_claim and r.tenant_id = p_tenant;
    if found then
        v_held := v_held - coalesce((
            select sum(o.reserved_usd) from headrace.runs o
            where o.job_id = p_job and o.claim_id = p_claim and o.status = 'started' and o.tenant_id = p_tenant), 0);
    end if;
    return v_held;
end $$;
