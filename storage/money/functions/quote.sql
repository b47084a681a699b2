-- What a job would meet, told before it exists. Two looks that write nothing and lock nothing, so what they say may have
-- changed a moment later; producers/quoter.py plans the job between them. As headrace_app with the tenant set.

-- The first look: what enqueue_batch would say to this request (p_request is one of its p_jobs), and the job as a claim
-- would find it. error: the refusal, in the same words, else null. job_id: the job that has its idempotency key already.
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

-- The second look, for the job p_job that does not exist yet and the calls that were planned, [{"provider", "model",
-- "input_bound", "max_output_tokens", "min_output_tokens"}, …]: {"at", "paused": those that are of tenant, lane and feature,
-- "caps": [{"scope", "key", "limit_usd", "spent_usd", "reserved_usd", "room_usd", "others_first"}, …], "rates": as rates_of
-- says, "calls": [as quote_call says, …]}. Amounts are USD as text, so that no digit is lost.
create or replace function headrace.quote(p_tenant uuid, p_job uuid, p_user text, p_feature text, p_lane text,
                                          p_rank bigint, p_calls jsonb)
returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with moment as materialized (select headrace.now() as at),
    stand as materialized (
        select jsonb_agg(jsonb_build_object(
                   'scope', s.scope, 'key', s.key, 'limit_usd', c.limit_usd::text, 'spent_usd', c.spent_usd::text,
                   'reserved_usd', c.reserved_usd::text,
                   'room_usd', case when c.limit_usd is not null then greatest(c.limit_usd - c.spent_usd - c.reserved_usd, 0) end::text,
                   'others_first', headrace.others_come_first(
                       p_tenant, p_job, p_lane, p_rank, s.scope, s.key)) order by s.n) as caps
        from moment, (values (1, 'tenant', ''), (2, 'user', p_user), (3, 'feature', p_feature)) s(n, scope, key),
             headrace.cap_now(p_tenant, s.scope, s.key, moment.at) c
    )
    select jsonb_build_object(
        'at', moment.at,
        'paused', to_jsonb(array_remove(array[
            (select 'tenant' from headrace.tenants t where t.id = p_tenant and t.paused_at is not null),
            (select 'lane' from headrace.lanes l where l.name = p_lane and l.paused_at is not null),
            (select 'feature' from headrace.features f where f.name = p_feature and f.paused_at is not null)], null)),
        'caps', stand.caps,
        'rates', coalesce((
            select headrace.rates_of(p_tenant, p, jsonb_populate_record(null::headrace.queue, jsonb_build_object(
                       'id', p_job, 'user_id', p_user, 'feature', p_feature, 'lane', p_lane, 'rank', p_rank)))
            from headrace.tenants t join headrace.plans p on p.name = t.plan where t.id = p_tenant), '[]'),
        'calls', coalesce((
            select jsonb_agg(headrace.quote_call(p_tenant, stand.caps, x.call, moment.at) order by x.n)
            from jsonb_array_elements(p_calls) with ordinality x(call, n)), '[]'))
    from moment, stand;
$$;

-- What begin would say to one call under these caps, and what it would reserve:
-- {"verdict": granted | over_budget | wait_for_room | unpriced, "worst_case_usd", "max_output_tokens" (both of the answer
-- as short as the caps make it when it is granted, else of the whole), "need_usd" (the least that has to fit), "cap" (which
-- of the caps says so, from 0), "fits": for each cap {"fit": now | once_settled | over_budget, "room_at"}}.
-- It decides as begin.sql does; tests/producers/test_dry_run.py holds them together.
create or replace function headrace.quote_call(p_tenant uuid, p_caps jsonb, p_call jsonb, v_now timestamptz)
returns jsonb language plpgsql stable as $$
declare
    p headrace.model_prices := headrace.price_in_force(p_call ->> 'provider', p_call ->> 'model', v_now);
    v_bound bigint := (p_call ->> 'input_bound')::bigint;
    v_asked integer := (p_call ->> 'max_output_tokens')::integer;
    v_min integer := (p_call ->> 'min_output_tokens')::integer;
    v_whole numeric := headrace.worst_case(p, v_bound, v_asked);
    v_least numeric := headrace.worst_case(p, v_bound, least(v_min, v_asked));
    v_max integer := v_asked;
    v_worst numeric := v_whole;
    v_verdict text := 'granted';
    v_cap integer;
    v_fits jsonb := '[]';
    v_fit text;
    v_room numeric;
    c record;
begin
    if v_whole is null then
        return jsonb_build_object('verdict', 'unpriced', 'max_output_tokens', v_asked, 'fits', '[]'::jsonb);
    end if;
    for c in select x.*, e.n::integer - 1 as n
             from jsonb_array_elements(p_caps) with ordinality e(cap, n)
             cross join lateral jsonb_to_record(e.cap) as x(scope text, key text, limit_usd numeric, spent_usd numeric,
                                                            reserved_usd numeric, others_first boolean)
             order by e.n loop
        v_room := c.limit_usd - c.spent_usd - c.reserved_usd;
        v_fit := case when v_whole = 0 or c.limit_usd is null then 'now'
                      when v_least <= v_room then case when c.others_first then 'once_settled' else 'now' end
                      when c.spent_usd + v_least > c.limit_usd then 'over_budget'
                      else 'once_settled' end;
        if v_whole > 0 and v_least <= v_room and v_worst > v_room then
            v_max := headrace.shortened_output(p, v_bound, v_max, v_min, v_room);
            v_worst := headrace.worst_case(p, v_bound, v_max);
        end if;
        v_fits := v_fits || jsonb_build_object('fit', v_fit, 'room_at', case when v_fit = 'over_budget' then
            headrace.room_at(p_tenant, c.scope, c.key, c.limit_usd, v_least, v_now) end);
        if v_fit <> 'now' and v_verdict <> 'over_budget' then
            v_verdict := case v_fit when 'over_budget' then 'over_budget' else 'wait_for_room' end;
            v_cap := c.n;
        end if;
    end loop;
    if v_verdict <> 'granted' then
        v_max := v_asked;
        v_worst := v_whole;
    end if;
    return jsonb_build_object('verdict', v_verdict, 'worst_case_usd', v_worst::text, 'max_output_tokens', v_max,
                              'need_usd', v_least::text, 'cap', v_cap, 'fits', v_fits);
end $$;
