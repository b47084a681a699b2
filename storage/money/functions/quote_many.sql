-- The second look of many jobs at once. It says of each job what quote says; tests/producers/test_many_quotes.py holds
-- them together. What a batch has in common is looked up once: prices, and the caps and rates of each (user, feature,
-- lane).
--
-- quote for each of p_jobs, [{"id", "user_id", "feature", "lane", "rank", "calls"}, …], of which n counts from 0.
-- A job to which nothing stands in the way has its calls' worst cases (USD) alone: each call is granted in full. What
-- caps, rates and pauses say to it stands in the `look` of job `alike`, which has no calls. That one is of the same
-- feature and lane, and of the
-- same user, or of another one where neither has a cap, a rate or a waiting job of its own: then the two looks differ
-- by the user's id in their keys. Any other job has a look of its own, as quote says it: own.
-- Indexes: the primary keys of caps and rates, queue_waiting.
create or replace function headrace.quote_many(p_tenant uuid, p_jobs jsonb)
returns table (n integer, alike integer, look jsonb, worst_usd numeric[], own jsonb)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with asked as materialized (
        select e.ordinality::integer - 1 as n, x.*
        from jsonb_array_elements(p_jobs) with ordinality e(value, ordinality)
        cross join lateral jsonb_to_record(e.value) as x(
            id uuid, user_id text, feature text, lane text, rank bigint, calls jsonb)
    ),
    users as materialized (
        select d.user_id, d.feature, case when
                   exists (select from headrace.caps c
                           where c.tenant_id = p_tenant and c.scope = 'user' and c.key = d.user_id)
                   or exists (select from headrace.rates r
                              where r.tenant_id = p_tenant and r.scope = 'user' and r.key = d.user_id)
                   or exists (select from headrace.queue w where w.tenant_id = p_tenant
                              and w.waits_for in ('room:user:' || d.user_id, 'rate:user:' || d.user_id,
                                                  'rate:feature_user:' || d.feature || ':' || d.user_id))
                   then d.user_id end as known  -- null: nothing is kept of this user
        from (select distinct a.user_id, a.feature from asked a) d
    ),
    firsts as materialized (
        select distinct on (u.known, a.feature, a.lane) a.*, u.known
        from asked a join users u on u.user_id = a.user_id and u.feature = a.feature
        order by u.known, a.feature, a.lane, a.n
    ),
    looks as materialized (
        select f.n, f.known, f.feature, f.lane,
               headrace.quote(p_tenant, f.id, f.user_id, f.feature, f.lane, f.rank, '[]') as look
        from firsts f
    ),
    rooms as materialized (  -- the tightest of the caps stands for all three
        select l.*, t.limit_usd, t.spent_usd, t.reserved_usd, exists (
                   select from headrace.queue w
                   where w.tenant_id = p_tenant and w.waits_for = any (c.lists || r.lists)) as is_waited_for
        from looks l
        cross join lateral (
            select array_agg('room:' || (x ->> 'scope') || ':' || (x ->> 'key')) as lists
            from jsonb_array_elements(l.look -> 'caps') x) c
        cross join lateral (
            select x.*
            from jsonb_to_recordset(l.look -> 'caps') as x(limit_usd numeric, spent_usd numeric, reserved_usd numeric)
            order by x.limit_usd - x.spent_usd - x.reserved_usd nulls last limit 1) t
        cross join lateral (
            select coalesce(array_agg('rate:' || (x ->> 'scope') || ':' || (x ->> 'key')), '{}') as lists
            from jsonb_array_elements(l.look -> 'rates') x) r
    ),
    planned as materialized (
        select a.n, y.ordinality as place, x.*
        from asked a cross join lateral jsonb_array_elements(a.calls) with ordinality y(value, ordinality)
        cross join lateral jsonb_to_record(y.value) as x(
            provider text, model text, input_bound bigint, max_output_tokens integer)
    ),
    prices as materialized (
        select d.provider, d.model, headrace.price_in_force(d.provider, d.model, headrace.now()) as price
        from (select distinct p.provider, p.model from planned p) d
    ),
    priced as (
        select w.n, array_agg(w.worst order by w.place) as worst, max(w.worst) as dearest,
               bool_and(w.worst is not null) as known
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
        select not r.is_waited_for and (w.n is null or w.known
            and headrace.fit_under_cap(r.limit_usd, r.spent_usd, r.reserved_usd, w.dearest, false) = 'now') as fits) s
    order by a.n;
$$;
