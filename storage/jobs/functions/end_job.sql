-- The one place that ends a job: outcome written, queue row deleted, reservation released. The caller holds the queue
-- row's lock, so it happens once, and frees the claim's slots, if it had one, when all else is done.
create or replace function headrace.end_job(p_tenant uuid, q headrace.queue, p_outcome text, p_reason text,
                                            p_error jsonb, v_now timestamptz)
returns void language plpgsql as $$
begin
    update headrace.jobs j set outcome = p_outcome, reason = p_reason, error = p_error, attempts = q.attempts,
                               ended_at = v_now, ended_claim = q.claim_id,
                               first_claimed_at = coalesce(j.first_claimed_at, q.claimed_at)
    where j.id = q.id and j.tenant_id = p_tenant and j.outcome is null;
    if not found then
        raise exception 'job % of tenant % has ended before: its queue row should be gone', q.id, p_tenant
            using errcode = 'HR500';
    end if;
    delete from headrace.queue where id = q.id and tenant_id = p_tenant;
    if q.waits_for like 'slot:model:%' then
        perform headrace.break_promise(p_tenant, q.id, q.waits_for);
    end if;
    if q.claim_id is not null then
        perform headrace.release(p_tenant, q.id, q.claim_id, v_now);
    end if;
end $$;
