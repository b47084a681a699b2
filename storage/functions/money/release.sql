-- Give back what a claim still holds under the caps and forget its reservation.
create or replace function headrace.release(p_tenant uuid, p_claim uuid, v_now timestamptz)
returns void language plpgsql as $$
declare r headrace.reservations;
begin
    delete from headrace.reservations where claim_id = p_claim and tenant_id = p_tenant returning * into r;
    if r.amount_usd > 0 then
        perform headrace.book(p_tenant, r.user_id, r.feature, v_now, 0, -r.amount_usd, v_now);
    end if;
end $$;
