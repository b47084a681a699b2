-- The first look of a quote (quote.sql is the second): what enqueue_batch would say to this request (p_request is one
-- of its p_jobs), and the job as a claim would find it. error: the refusal, in the same words, else null. job_id: the
-- job that has its idempotency key already.
-- rank: where it would stand in its lane.
create or replace function headrace.quote_request(p_tenant uuid, p_request jsonb)
returns table (error jsonb, job_id uuid, rank bigint, plan text, prompt_id uuid, feature text, variables jsonb,
               messages jsonb, context jsonb, output_schema jsonb, max_output_tokens integer, force_tier text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    r headrace.job_request;
    v_key record;
begin
    begin
        p_request := headrace.with_composed_names(p_request);
        r := jsonb_populate_record(null::headrace.job_request, p_request);
    exception when data_exception then  -- its own message would quote the request
        perform headrace.refuse(headrace.refusal('invalid_input', 'request', null, 'a field is not of its type'));
    end;
    plan := (select t.plan from headrace.tenants t where t.id = p_tenant);
    error := case when plan is null then headrace.refusal('unknown_tenant', 'tenant_id', p_tenant::text, 'no such tenant')
        else headrace.request_error(r.id, r.user_id, r.feature,
            exists (select from headrace.features k where k.name = r.feature and k.retired_at is null), r.lane,
            exists (select from headrace.lanes l where l.name = coalesce(r.lane, 'interactive') and l.retired_at is null), r.prompt,
            headrace.declared_variables(p_tenant, r.prompt), r.variables, r.messages, r.context, r.output_schema, r.max_output_tokens, r.run_at, r.deadline, r.on_over_budget, r.on_unknown, r.force_tier, r.metadata,
            r.idempotency_key, headrace.now()) end;
    error := headrace.with_known_names(p_tenant, error);
    error := coalesce(error, headrace.over_feature_limit(r.feature,
        (select k.max_input_chars from headrace.features k where k.name = r.feature and k.retired_at is null), r.messages, r.variables));
    if error is null and r.idempotency_key is not null then
        select i.job_id, i.body_hash = headrace.body_hash(p_request) as same
        into v_key from headrace.idempotency i where i.tenant_id = p_tenant and i.key = r.idempotency_key;
        if v_key.same then
            job_id := v_key.job_id;
        elsif not v_key.same then
            error := headrace.refusal('idempotency_conflict', 'idempotency_key', r.idempotency_key,
                'the key was used before with another request') || jsonb_build_object('job_id', v_key.job_id);
        end if;
    end if;
    if error is null then
        rank := headrace.queue_rank(p_tenant, coalesce(r.lane, 'interactive'), r.user_id, coalesce(r.estimated_tokens, 1));
        prompt_id := (select o.prompt_id from headrace.prompt_pointers o
                      where o.name = r.prompt and (o.tenant_id = p_tenant or o.tenant_id is null)
                      order by o.tenant_id nulls last limit 1);
        feature := r.feature;
        variables := case when r.prompt is not null then coalesce(r.variables, '{}') end;
        messages := r.messages;
        context := r.context;
        output_schema := r.output_schema;
        max_output_tokens := r.max_output_tokens;
        force_tier := r.force_tier;
    end if;
    return next;
end $$;
