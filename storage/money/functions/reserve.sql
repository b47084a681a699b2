-- Reserve an amount, USD, for a claim under its three caps, which the caller has locked (lock_caps.sql).
create or replace function headrace.reserve(p_tenant uuid, p_job uuid, p_claim uuid, p_user text, p_feature text,
                                            p_usd numeric, v_now timestamptz)
returns void language plpgsql as $$
begin
    with held as (
        update headrace.caps k set reserved_usd = k.reserved_usd + p_usd
        where k.tenant_id = p_tenant and (k.scope, k.key) in (('tenant', ''), ('user', p_user), ('feature', p_feature)))
    insert into headrace.reservations as r (claim_id, tenant_id, job_id, user_id, feature, amount_usd, created_at)
    values (p_claim, p_tenant, p_job, p_user, p_feature, p_usd, v_now)
    on conflict (claim_id, tenant_id) do update set amount_usd = r.amount_usd + excluded.amount_usd;
end $$;
