-- Take a running job out of *running* and let it run again: at once (p_run_at null: queued) or later (scheduled, with
-- the reason). Its reservation is released; the caller frees its slots when all else is done. An attempt that was not
-- the job's own doing (hand back, defer) is not counted. p_admitted: its request rates have counted it. p_waits_for:
-- what has to have room first (queue.waits_for). A cancelled or expired job ends instead. Returns the job's new state.
create or replace function headrace.requeue(
    p_tenant uuid, q headrace.queue, p_run_at timestamptz, p_reason text, p_burns_attempt boolean, p_died boolean,
    v_now timestamptz, p_waits_for text default null, p_need numeric default null, p_admitted boolean default false)
returns text language plpgsql as $$
begin
    if p_run_at > v_now + headrace.longest_wait() then
        p_run_at := v_now + headrace.longest_wait();
    end if;
    if q.cancel_requested_at is not null then
        perform headrace.end_job(p_tenant, q, 'cancelled', 'cancelled', null, v_now);
        return 'cancelled';
    end if;
    if q.deadline <= greatest(v_now, p_run_at) then
        perform headrace.end_job(p_tenant, q, 'expired', 'deadline_passed', null, v_now);
        return 'expired';
    end if;
    perform headrace.release(p_tenant, q.id, q.claim_id, v_now);
    if q.waits_for like 'slot:model:%' then
        perform headrace.break_promise(p_tenant, q.id, q.waits_for);
    end if;
    if p_waits_for like 'slot:model:%' then
        perform headrace.waits_for_model(p_tenant, substr(p_waits_for, length('slot:') + 1));
    end if;
    update headrace.queue x set
        state = case when p_run_at is null then 'queued' else 'scheduled' end,
        run_at = p_run_at, reason = case when p_run_at is not null then p_reason end,
        -- who waits in a list keeps its place in it
        rank = case when p_waits_for is null then greatest(x.rank, headrace.virtual_time(p_tenant, x.lane))
            else x.rank end,
        attempts = x.attempts - case when p_burns_attempt then 0 else 1 end,
        held_since = case when p_reason in ('provider_held', 'provider_rate_limited') then coalesce(x.held_since, v_now)
                          when p_reason = 'handed_back' then x.held_since end,
        waits_for = p_waits_for, need_usd = p_need, admitted = x.admitted or p_admitted,
        deaths = x.deaths + case when p_died then 1 else 0 end,
        claim_id = null, worker_id = null, claimed_at = null, claim_deadline = null
    where x.id = q.id and x.tenant_id = p_tenant;
    update headrace.jobs j set first_claimed_at = q.claimed_at
    where j.id = q.id and j.tenant_id = p_tenant and j.first_claimed_at is null;
    insert into headrace.job_events (tenant_id, job_id, event, detail, at)
    values (p_tenant, q.id, p_reason, jsonb_strip_nulls(jsonb_build_object(
        'attempt', q.attempts, 'claim_id', q.claim_id, 'worker_id', q.worker_id, 'run_at', p_run_at, 'died',
        nullif(p_died, false))), v_now);
    return case when p_run_at is null then 'queued' else 'scheduled' end;
end $$;
