-- The first look of a quote (quote.sql is the second): what enqueue_batch would say to each of p_requests, [one of its
-- p_jobs, …], and the job as a claim would find it; n counts them from 0. Variables and messages are as the caller sent
-- them, so they are not sent back. error: the refusal, in the same words, else null. job_id: the job that has its
-- idempotency key already. rank: where it would stand in its lane. What the requests have in common is looked up once:
-- features, lanes and prompts.
create or replace function headrace.quote_requests(p_tenant uuid, p_requests jsonb)
returns table (n integer, error jsonb, job_id uuid, rank bigint, plan text, prompt_id uuid, context jsonb,
               output_schema jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_plan text := (select t.plan from headrace.tenants t where t.id = p_tenant);
    v_now timestamptz := headrace.now();
begin
    if v_plan is null then
        return query select i - 1, headrace.refusal('unknown_tenant', 'tenant_id', p_tenant::text, 'no such tenant'),
            null::uuid, null::bigint, null::text, null::uuid, null::jsonb, null::jsonb
        from generate_series(1, jsonb_array_length(p_requests)) i;
        return;
    end if;
    return query
    with asked as materialized (
        select e.ordinality::integer - 1 as n, e.value, r.*, r as request, coalesce(r.lane, 'interactive') as its_lane,
               coalesce(r.estimated_tokens, 1) as estimate
        from jsonb_array_elements(p_requests) with ordinality g(given, ordinality)
        cross join lateral (select headrace.with_composed_names(g.given) as value, g.ordinality) e
        cross join lateral jsonb_populate_record(null::headrace.job_request, e.value) r
    ),
    prompts as materialized (
        select d.prompt, v.prompt_id, m.variables as declared
        from (select distinct a.prompt from asked a where a.prompt is not null) d
        cross join lateral headrace.active_prompt(p_tenant, d.prompt) v
        join headrace.prompts m on m.id = v.prompt_id and (m.tenant_id = p_tenant or m.tenant_id is null)
    ),
    lines as materialized (  -- where a lane's next job stands, and each of its users' last one
        select d.its_lane, d.user_id, headrace.virtual_time(p_tenant, d.its_lane) as virtual_time,
               (select max(q.rank) from headrace.queue q
                where q.tenant_id = p_tenant and q.lane = d.its_lane and q.user_id = d.user_id) as last_rank
        from (select distinct a.its_lane, a.user_id from asked a) d
    ),
    looked as materialized (
        select a.n, a.value, p.prompt_id, a.context, a.output_schema, a.idempotency_key,
               greatest(i.virtual_time, a.estimate + i.last_rank) as rank, coalesce(
                   headrace.request_error(a.request, k.name is not null, l.name is not null, p.declared, v_now),
                   headrace.over_feature_limit(a.feature, k.max_input_chars, a.messages, a.variables)) as error
        from asked a
        left join prompts p on p.prompt = a.prompt
        left join lines i on i.its_lane = a.its_lane and i.user_id = a.user_id
        left join headrace.features k on k.name = a.feature and k.retired_at is null
        left join headrace.lanes l on l.name = a.its_lane and l.retired_at is null
    ),
    keyed as (
        select b.*, i.job_id as first_id, i.body_hash = headrace.body_hash(b.value) as same
        from looked b
        left join headrace.idempotency i on b.error is null and i.tenant_id = p_tenant and i.key = b.idempotency_key
    )
    select r.n, coalesce(
               -- what there is, beside the first ten, as enqueue_batch says it
               case when r.error is not null and count(r.error) over (order by r.n) <= 10
                    then headrace.with_known_names(p_tenant, r.error) else r.error end,
               case when not r.same then
               headrace.refusal('idempotency_conflict', 'idempotency_key', r.idempotency_key,
                   'the key was used before with another request') || jsonb_build_object('job_id', r.first_id) end),
           case when r.same then r.first_id end, r.rank, v_plan, r.prompt_id, r.context, r.output_schema
    from keyed r order by r.n;
exception when data_exception then  -- its own message would quote the request
    perform headrace.refuse(headrace.refusal('invalid_input', 'request', null, 'a field is not of its type'));
end $$;
