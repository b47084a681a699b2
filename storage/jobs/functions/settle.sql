-- settle: a worker's only way out of *running*. One transaction: the run is priced and booked (fenced by its status),
-- and if (job, claim) is still ours the verdict is carried out (fenced by the claim).
--
-- p_run: what settle_run takes, or null when no call is to be settled.
-- p_verdict: ended | retry | defer | hand_back | next_call
-- p_outcome: ended: {"outcome", "reason", "error", "run_id", "output", "output_json", "finish", "max_output_tokens",
--            "simulated"};
--            retry and defer: {"delay_s" | "until", "reason"}; retry also {"output_fault"}: what was wrong with the
--            answer, for the next attempt; defer also {"waits_for", "need_usd"}: see queue.waits_for;
--            retry, defer and hand_back: {"admitted"}: whether the job's request rates have counted it.
--            A time further off than longest_wait() is taken for that.
-- Returns ended, scheduled, queued, kept, cancelled, expired; lost: the job is no longer this claim's (the run was
-- settled all the same). A repeat after a lost answer returns what the first try did, or lost, which is harmless.
-- offers: turns to offer after the commit, [{"tenant_id", "lane"}, …], where a slot that was freed lets somebody in,
-- else null. A repeat does not know of them any more; the scheduler's look finds what they were for.
-- Locks: queue row → run → caps → slots → queue rows of those that wait (never waited for).
create or replace function headrace.settle(p_tenant uuid, p_job uuid, p_claim uuid, p_run jsonb, p_verdict text,
                                           p_outcome jsonb default '{}',
                                           out settled text, out offers jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_now timestamptz;
    v_admitted constant boolean := coalesce((p_outcome ->> 'admitted')::boolean, false);
    q headrace.queue;
begin
    <<work>> begin
    select * into q from headrace.queue where id = p_job and tenant_id = p_tenant for update;
    if p_run is not null then
        perform headrace.settle_run(p_tenant, p_run, headrace.now());
    end if;
    v_now := headrace.now();  -- after the waits for the row and for the caps
    if q.claim_id is distinct from p_claim then
        settled := case when exists (select from headrace.jobs j
                                     where j.id = p_job and j.tenant_id = p_tenant and j.ended_claim = p_claim)
                   then 'ended' else 'lost' end;
        exit work;
    end if;

    case p_verdict
    when 'next_call' then
        settled := 'kept';
    when 'ended' then
        if q.cancel_requested_at is not null then
            perform headrace.end_job(p_tenant, q, 'cancelled', 'cancelled', null, v_now);
            settled := 'cancelled';
        else
            if p_outcome ->> 'outcome' = 'succeeded' then
                insert into headrace.results (job_id, tenant_id, run_id, output, output_json, finish, max_output_tokens,
                    simulated, created_at)
                values (p_job, p_tenant, (p_outcome ->> 'run_id')::uuid, p_outcome ->> 'output',
                    p_outcome -> 'output_json',
                        p_outcome ->> 'finish', (p_outcome ->> 'max_output_tokens')::integer,
                        coalesce((p_outcome ->> 'simulated')::boolean, false), v_now);
            end if;
            perform headrace.end_job(p_tenant, q, p_outcome ->> 'outcome', p_outcome ->> 'reason', p_outcome -> 'error',
                v_now);
            settled := 'ended';
        end if;
    when 'retry', 'defer' then
        settled := headrace.requeue(p_tenant, q,
            coalesce((p_outcome ->> 'until')::timestamptz,
                     v_now + least(greatest((p_outcome ->> 'delay_s')::numeric, 0),
                         1e9)::double precision * interval '1 second'),
            p_outcome ->> 'reason', p_verdict = 'retry', false, v_now, p_outcome ->> 'waits_for',
            (p_outcome ->> 'need_usd')::numeric, v_admitted);
        if p_outcome ? 'output_fault' then
            update headrace.queue x set output_fault = left(p_outcome ->> 'output_fault', 500)
            where x.id = p_job and x.tenant_id = p_tenant;
        end if;
    when 'hand_back' then
        settled := headrace.requeue(p_tenant, q, null, 'handed_back', false, false, v_now, null, null, v_admitted);
    end case;
    if exists (select from headrace.slots s where s.claim_id = p_claim and s.of_tenant = p_tenant) then
        offers := headrace.free_slots(p_tenant, p_claim, p_verdict = 'next_call');
    end if;
    -- one may have become free meanwhile
    if settled = 'scheduled' and p_outcome ->> 'waits_for' like 'slot:model:%' then
        offers := coalesce(offers, '[]') || headrace.release_for_model(substr(p_outcome ->> 'waits_for',
            length('slot:') + 1));
    end if;
    end work;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
