-- The two looks of quote.sql for many jobs at once. They say the same of each job; tests/producers/test_many_quotes.py holds them
-- together. What a batch has in common is looked up once: features, lanes, prompts, prices, and the caps and rates of each
-- (user, feature, lane).

-- The first look: quote_request for each of p_requests, [one of enqueue_batch's p_jobs, …]; n counts them from 0. Variables and
-- messages are as the caller sent them, so they are not sent back.
create or replace function headrace.quote_requests(p_tenant uuid, p_requests jsonb)
returns table (n integer, error jsonb, job_id uuid, rank bigint, plan text, prompt_id uuid, context jsonb, output_schema jsonb)
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
        select e.ordinality::integer - 1 as n, e.value, coalesce(x.lane, 'interactive') as its_lane,
               coalesce(x.estimated_tokens, 1) as estimate, x.*
        from jsonb_array_elements(p_requests) with ordinality g(given, ordinality)
        cross join lateral (select headrace.with_composed_names(g.given) as value, g.ordinality) e
        cross join lateral jsonb_to_record(e.value) as x(
            id uuid, user_id text, feature text, lane text, prompt text, variables jsonb, messages jsonb, context jsonb,
            output_schema jsonb, max_output_tokens integer, estimated_tokens bigint, run_at timestamptz,
            deadline timestamptz, on_over_budget text, on_unknown text, force_tier text, metadata jsonb,
            idempotency_key text)
    ),
    prompts as materialized (
        select d.prompt, headrace.declared_variables(p_tenant, d.prompt) as declared,
               (select o.prompt_id from headrace.prompt_pointers o
                where o.name = d.prompt and (o.tenant_id = p_tenant or o.tenant_id is null)
                order by o.tenant_id nulls last limit 1) as prompt_id
        from (select distinct a.prompt from asked a where a.prompt is not null) d
    ),
    lines as materialized (  -- where a lane's next job stands, and each of its users' last one
        select d.its_lane, d.user_id, headrace.virtual_time(p_tenant, d.its_lane) as virtual_time,
               (select max(q.rank) from headrace.queue q
                where q.tenant_id = p_tenant and q.lane = d.its_lane and q.user_id = d.user_id) as last_rank
        from (select distinct a.its_lane, a.user_id from asked a) d
    ),
    looked as materialized (
        select a.n, a.value, p.prompt_id, a.context, a.output_schema, greatest(i.virtual_time, a.estimate + i.last_rank) as rank, a.idempotency_key,
               coalesce(headrace.request_error(a.id, a.user_id, a.feature, k.name is not null, a.lane, l.name is not null, a.prompt,
                   p.declared, a.variables, a.messages, a.context, a.output_schema, a.max_output_tokens, a.run_at, a.deadline,
                   a.on_over_budget, a.on_unknown, a.force_tier, a.metadata, a.idempotency_key, v_now),
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

-- The second look: quote for each of p_jobs, [{"id", "user_id", "feature", "lane", "rank", "calls"}, …], of which n counts from 0.
-- A job to which nothing stands in the way has its calls' worst cases (USD) alone: each call is granted in full. What caps, rates
-- and pauses say to it stands in the `look` of job `alike`, which has no calls. That one is of the same feature and lane, and of the
-- same user, or of another one where neither has a cap, a rate or a waiting job of its own: then the two looks differ by the user's
-- id in their keys. Any other job has a look of its own, as quote says it: own.
-- Indexes: the primary keys of caps and rates, queue_waiting.
create or replace function headrace.quote_many(p_tenant uuid, p_jobs jsonb)
returns table (n integer, alike integer, look jsonb, worst_usd numeric[], own jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with asked as materialized (
        select e.ordinality::integer - 1 as n, x.*
        from jsonb_array_elements(p_jobs) with ordinality e(value, ordinality)
        cross join lateral jsonb_to_record(e.value) as x(id uuid, user_id text, feature text, lane text, rank bigint, calls jsonb)
    ),
    users as materialized (
        select d.user_id, d.feature, case when
                   exists (select from headrace.caps c where c.tenant_id = p_tenant and c.scope = 'user' and c.key = d.user_id)
                   or exists (select from headrace.rates r where r.tenant_id = p_tenant and r.scope = 'user' and r.key = d.user_id)
                   or exists (select from headrace.queue w where w.tenant_id = p_tenant
                              and w.waits_for in ('room:user:' || d.user_id, 'rate:user:' || d.user_id,
                                                  'rate:feature_user:' || d.feature || ':' || d.user_id))
                   then d.user_id end as known  -- null: nothing is kept of this user
        from (select distinct a.user_id, a.feature from asked a) d
    ),
    firsts as materialized (
        select distinct on (u.known, a.feature, a.lane) a.*, u.known
        from asked a join users u on u.user_id = a.user_id and u.feature = a.feature order by u.known, a.feature, a.lane, a.n
    ),
    looks as materialized (
        select f.n, f.known, f.feature, f.lane,
               headrace.quote(p_tenant, f.id, f.user_id, f.feature, f.lane, f.rank, '[]') as look
        from firsts f
    ),
    rooms as materialized (
        select l.*, c.room, exists (
                   select from headrace.queue w where w.tenant_id = p_tenant and w.waits_for = any (c.lists || r.lists)) as is_waited_for
        from looks l
        cross join lateral (
            select min((x ->> 'limit_usd')::numeric - (x ->> 'spent_usd')::numeric - (x ->> 'reserved_usd')::numeric) as room,
                   array_agg('room:' || (x ->> 'scope') || ':' || (x ->> 'key')) as lists
            from jsonb_array_elements(l.look -> 'caps') x) c
        cross join lateral (
            select coalesce(array_agg('rate:' || (x ->> 'scope') || ':' || (x ->> 'key')), '{}') as lists
            from jsonb_array_elements(l.look -> 'rates') x) r
    ),
    planned as materialized (
        select a.n, y.ordinality as place, x.*
        from asked a cross join lateral jsonb_array_elements(a.calls) with ordinality y(value, ordinality)
        cross join lateral jsonb_to_record(y.value) as x(provider text, model text, input_bound bigint, max_output_tokens integer)
    ),
    prices as materialized (
        select d.provider, d.model, headrace.price_in_force(d.provider, d.model, headrace.now()) as price
        from (select distinct p.provider, p.model from planned p) d
    ),
    priced as (
        select w.n, array_agg(w.worst order by w.place) as worst, max(w.worst) as dearest, bool_and(w.worst is not null) as known
        from (select p.n, p.place, headrace.worst_case(m.price, p.input_bound, p.max_output_tokens) as worst
              from planned p join prices m on m.provider = p.provider and m.model = p.model) w
        group by w.n
    )
    select a.n, r.n, case when a.n = r.n then r.look end,
           case when s.fits then coalesce(w.worst, '{}') end,
           case when not s.fits then headrace.quote(p_tenant, a.id, a.user_id, a.feature, a.lane, a.rank, a.calls) end
    from asked a
    join users u on u.user_id = a.user_id and u.feature = a.feature
    join rooms r on r.known is not distinct from u.known and r.feature = a.feature and r.lane = a.lane
    left join priced w on w.n = a.n
    cross join lateral (
        select not r.is_waited_for and (w.n is null or (w.known and (r.room is null or w.dearest <= r.room))) as fits) s
    order by a.n;
$$;
