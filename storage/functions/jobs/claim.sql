-- claim: the tenant's next job of a lane → *running*, held by p_claim. Fair over the tenant's users: the lowest rank
-- first. SKIP LOCKED, so claims never wait for each other (index queue_next). Resolves the prompt (the tenant's own
-- pointer first, then the default), so that a rollback is in effect at the next claim.
--
-- No row: nothing to claim (or the tenant, the lane or every queued feature is paused). p_repeat: the answer to this
-- same claim was lost; what it had claimed is read back. The first try may still be under way on the connection that
-- broke, and SKIP LOCKED would not see it: the claim's own lock lets the repeat wait for it, so no claim holds two jobs.
-- rates: the request rates that bind it (rates_of.sql). more: W or more are still queued, so the caller offers one turn.
create or replace function headrace.claim(
    p_tenant uuid, p_lane text, p_claim uuid, p_worker uuid, p_timeout_s double precision, p_w integer,
    p_repeat boolean default false)
returns table (job_id uuid, user_id text, feature text, attempt integer, rank bigint, estimated_tokens bigint,
               plan text, weight numeric, prompt_id uuid, variables jsonb, messages jsonb, context jsonb,
               output_schema jsonb, max_output_tokens integer, on_over_budget text, on_unknown text, force_tier text,
               metadata jsonb, rates jsonb, remaining_s double precision, queued_s double precision, more boolean)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := headrace.now();
    q headrace.queue;
begin
    perform set_config('app.tenant_id', p_tenant::text, true);
    perform pg_advisory_xact_lock(hashtextextended(p_claim::text, 0));

    if p_repeat then
        select * into q from headrace.queue x
        where x.tenant_id = p_tenant and x.worker_id = p_worker and x.state = 'running' and x.claim_id = p_claim;
    end if;
    if q.id is null then
        if exists (select from headrace.tenants t where t.id = p_tenant and t.paused_at is not null)
           or exists (select from headrace.lanes l where l.name = p_lane and l.paused_at is not null) then
            return;
        end if;
        loop
            select * into q from headrace.queue x
            where x.tenant_id = p_tenant and x.lane = p_lane and x.state = 'queued'
              and not exists (select from headrace.features f where f.name = x.feature and f.paused_at is not null)
            order by x.rank, x.id limit 1 for update skip locked;
            if not found then return; end if;
            exit when q.deadline is null or q.deadline > v_now;
            perform headrace.end_job(p_tenant, q, 'expired', 'deadline_passed', null, v_now);
        end loop;
        update headrace.queue x set
            state = 'running', claim_id = p_claim, worker_id = p_worker, claimed_at = v_now, attempts = x.attempts + 1,
            claim_deadline = v_now + make_interval(secs => p_timeout_s)
        where x.id = q.id and x.tenant_id = p_tenant returning * into q;
    end if;

    return query
    select j.id, j.user_id, j.feature, q.attempts, q.rank, j.estimated_tokens,
           t.plan, coalesce(t.weight, p.weight),
           coalesce((select o.prompt_id from headrace.prompt_pointers o where o.tenant_id = p_tenant and o.name = j.prompt),
                    (select o.prompt_id from headrace.prompt_pointers o where o.tenant_id is null and o.name = j.prompt)),
           j.variables, j.messages, j.context, j.output_schema, j.max_output_tokens, j.on_over_budget, j.on_unknown,
           j.force_tier, j.metadata, headrace.rates_of(p_tenant, p, q), extract(epoch from j.deadline - v_now)::double precision,
           extract(epoch from v_now - greatest(j.created_at, j.run_at))::double precision,
           exists (select from headrace.queue x
                   where x.tenant_id = p_tenant and x.lane = p_lane and x.state = 'queued' offset p_w - 1)
    from headrace.jobs j
    join headrace.tenants t on t.id = j.tenant_id
    join headrace.plans p on p.name = t.plan
    where j.id = q.id and j.tenant_id = p_tenant;
end $$;
