-- run_again: a job that ended without an answer is asked anew, as a new job (an ending is for ever), once: a second
-- caller gets the first one's new job. The new one has no deadline and no idempotency key; each names the other, in its
-- row and in its history. p_new is the new job's id, made by the caller, so a repeat does nothing. Returns the job that
-- asks anew, its lane and whether it was made now; no row when there is no such job that ended without an answer.
--
-- The row of the ended job is locked first, so of two operators who race the second one finds what the first one did.
-- Nothing else writes to that row any more. A job that was asked again before there was a column for it has an event
-- alone.
-- Index: primary key of jobs, job_events_by_job.
create or replace function headrace.run_again(p_tenant uuid, p_job uuid, p_new uuid, p_by text)
returns table (job_id uuid, lane text, created boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_now timestamptz := headrace.now();
    j headrace.jobs;
    v_before uuid;
    v_user text;
begin
    <<work>> begin
    select * into j from headrace.jobs
    where id = p_job and tenant_id = p_tenant and outcome in ('failed', 'rejected', 'cancelled', 'expired') for update;
    exit work when not found;
    v_before := coalesce(j.asked_again_as, (
        select (e.detail ->> 'as')::uuid from headrace.job_events e
        where e.job_id = p_job and e.tenant_id = p_tenant and e.event = 'asked_again' order by e.at, e.id limit 1));
    if v_before is not null then
        return query select v_before, j.lane, false;
        exit work;
    end if;
    -- a job of long ago may have its user's id in another form than caps and rates have it
    v_user := headrace.composed(j.user_id);
    if headrace.name_fault(v_user, 200) is not null then
        v_user := j.user_id;
    end if;
    insert into headrace.jobs (id, tenant_id, user_id, feature, lane, prompt, variables, messages, context,
        output_schema,
        max_output_tokens, estimated_tokens, on_over_budget, on_unknown, force_tier, metadata, repeats, created_at)
    values (p_new, p_tenant, v_user, j.feature, j.lane, j.prompt, j.variables, j.messages, j.context, j.output_schema,
        j.max_output_tokens, j.estimated_tokens, j.on_over_budget, j.on_unknown, j.force_tier, j.metadata, p_job, v_now)
    on conflict do nothing;
    if not found then
        perform headrace.refuse(headrace.id_refusal());  -- the id of another job, this tenant's or not
    end if;
    update headrace.jobs set asked_again_as = p_new where id = p_job and tenant_id = p_tenant;
    insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, rank, estimated_tokens, created_at)
    values (p_new, p_tenant, j.lane, v_user, j.feature, 'queued',
        headrace.queue_rank(p_tenant, j.lane, v_user, j.estimated_tokens), j.estimated_tokens, v_now);
    insert into headrace.job_events (tenant_id, job_id, event, detail, at)
    values (p_tenant, p_job, 'asked_again', jsonb_build_object('as', p_new, 'by', p_by), v_now),
           (p_tenant, p_new, 'repeats', jsonb_build_object('job', p_job, 'by', p_by), v_now);
    return query select p_new, j.lane, true;
    end work;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
