-- run_again: a job that ended without an answer is asked anew, as a new job (an ending is for ever). The new one has
-- no deadline and no idempotency key; each points at the other in its history. p_new is the new job's id, made by the
-- caller, so a repeat does nothing. Returns its lane, or null when there is no such job that ended without an answer.
create or replace function headrace.run_again(p_tenant uuid, p_job uuid, p_new uuid, p_by text)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_now timestamptz := headrace.now();
    j headrace.jobs;
begin
    <<work>> begin
    select * into j from headrace.jobs
    where id = p_job and tenant_id = p_tenant and outcome in ('failed', 'rejected', 'cancelled', 'expired');
    exit work when not found;
    insert into headrace.jobs (id, tenant_id, user_id, feature, lane, prompt, variables, messages, context, output_schema,
        max_output_tokens, estimated_tokens, on_over_budget, on_unknown, force_tier, metadata, created_at)
    values (p_new, p_tenant, j.user_id, j.feature, j.lane, j.prompt, j.variables, j.messages, j.context, j.output_schema,
        j.max_output_tokens, j.estimated_tokens, j.on_over_budget, j.on_unknown, j.force_tier, j.metadata, v_now)
    on conflict do nothing;
    if not found then
        if not exists (select from headrace.jobs n where n.id = p_new and n.tenant_id = p_tenant) then
            perform headrace.refuse(headrace.id_refusal());  -- the id of another tenant's job
        end if;
        exit work;
    end if;
    insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, rank, estimated_tokens, created_at)
    values (p_new, p_tenant, j.lane, j.user_id, j.feature, 'queued',
        headrace.queue_rank(p_tenant, j.lane, j.user_id, j.estimated_tokens), j.estimated_tokens, v_now);
    insert into headrace.job_events (tenant_id, job_id, event, detail, at)
    values (p_tenant, p_job, 'asked_again', jsonb_build_object('as', p_new, 'by', p_by), v_now),
           (p_tenant, p_new, 'repeats', jsonb_build_object('job', p_job, 'by', p_by), v_now);
    end work;
    perform set_config('app.tenant_id', v_caller, true);
    return j.lane;
end $$;
