-- reprice: look at a tenant's runs from `p_since` on, the `p_limit` oldest (and those that started with the last of
-- them), price the mispriced anew, and book the difference in every book: the buckets and caps of the hour in which
-- each run started, the daily rollup, today's bill; and one row of audit that says who, why, how many and how much.
-- Safe to repeat (a run that has the right row is not mispriced) and beside workers: it touches settled runs only, and
-- locks as settling does: runs, by id → caps, tenant first.
-- Returns how many runs were priced anew, what they cost before and after, and when the last one that it looked at had
-- started (null: there was none): the next ones started later.
create or replace function headrace.reprice(
    p_tenant uuid, p_since timestamptz, p_until timestamptz, p_model text, p_limit integer, p_actor text, p_reason text,
    out runs bigint, out before_usd numeric, out after_usd numeric, out last_at timestamptz)
language plpgsql set plan_cache_mode = force_custom_plan as $$
declare
    v_now timestamptz := headrace.now();
    v_ids uuid[];
    v_changed jsonb;
    v_raised numeric;
    g record;
begin
    select array_agg(o.id), max(o.created_at) into v_ids, last_at from (
        select r.id, r.created_at from headrace.runs r
        where r.tenant_id = p_tenant and r.created_at >= p_since and r.created_at < p_until
          and (p_model is null or r.model = p_model) and r.status in ('succeeded', 'failed')
        order by r.created_at fetch first p_limit rows with ties) o;
    select array_agg(m.id) into v_ids
    from headrace.mispriced(p_tenant, p_since, last_at + interval '1 microsecond', p_model) m where m.id = any (v_ids);
    perform from headrace.runs r where r.tenant_id = p_tenant and r.id = any (v_ids) order by r.id for no key update;

    -- who waited for the locks finds out here what has been done meanwhile
    with right_price as materialized (
        select m.* from headrace.mispriced(p_tenant, p_since, last_at + interval '1 microsecond', p_model) m
        where m.id = any (v_ids)
    ),
    changed as (
        update headrace.runs r set
            price_id = x.price_id, cost_usd = x.cost_usd,
            over_reserved_usd = greatest(x.cost_usd - r.reserved_usd, 0), repriced_at = v_now
        from right_price x where r.id = x.id and r.tenant_id = p_tenant
        returning r.user_id, r.feature, r.prompt_id, r.provider, r.model, r.key_owner, r.created_at,
            old.cost_usd as before_usd, new.cost_usd as after_usd,
            (new.over_reserved_usd > 0)::integer - (old.over_reserved_usd > 0)::integer as d_over_calls,
            new.over_reserved_usd - old.over_reserved_usd as d_over_usd
    )
    select count(*), trim_scale(coalesce(sum(c.before_usd), 0)), trim_scale(coalesce(sum(c.after_usd), 0)),
           jsonb_agg(c),
           trim_scale(coalesce(sum(greatest(c.after_usd - c.before_usd, 0)) filter (where c.key_owner = 'platform'), 0))
    into runs, before_usd, after_usd, v_changed, v_raised from changed c;
    if runs = 0 then return; end if;

    for g in select c.user_id, c.feature, date_trunc('hour', c.created_at, 'UTC') as hour,
        sum(c.after_usd - c.before_usd) as d_usd
             from jsonb_to_recordset(v_changed) as c(user_id text, feature text, key_owner text, created_at timestamptz,
                                                     before_usd numeric, after_usd numeric)
             where c.key_owner = 'platform' group by 1, 2, 3 having sum(c.after_usd - c.before_usd) <> 0
             order by 1, 2, 3 loop
        perform headrace.book(p_tenant, headrace.lock_caps(p_tenant, g.user_id, g.feature), g.hour, g.d_usd, 0);
    end loop;

    insert into headrace.spend_daily as d (day, tenant_id, user_id, feature, prompt_id, provider, model, key_owner,
        calls, failed_calls, input_tokens, cached_input_tokens, output_tokens, cost_usd, over_calls, over_reserved_usd)
    select (c.created_at at time zone 'UTC')::date, p_tenant, c.user_id, c.feature, c.prompt_id, c.provider, c.model,
           c.key_owner,
           0, 0, 0, 0, 0, sum(c.after_usd - c.before_usd), sum(c.d_over_calls), sum(c.d_over_usd)
    from jsonb_to_recordset(v_changed) as c(user_id text, feature text, prompt_id uuid, provider text, model text,
        key_owner text, created_at timestamptz, before_usd numeric, after_usd numeric, d_over_calls integer,
        d_over_usd numeric)
    group by 1, c.user_id, c.feature, c.prompt_id, c.provider, c.model, c.key_owner
    order by 1, c.user_id, c.feature, c.prompt_id, c.provider, c.model, c.key_owner
    on conflict (tenant_id, day, user_id, feature, prompt_id, provider, model, key_owner) do update set
        cost_usd = d.cost_usd + excluded.cost_usd, over_calls = d.over_calls + excluded.over_calls,
        over_reserved_usd = d.over_reserved_usd + excluded.over_reserved_usd;

    perform headrace.bill(p_tenant, (headrace.now() at time zone 'UTC')::date, 0, 0, 0, sum(c.after_usd - c.before_usd))
    from jsonb_to_recordset(v_changed) as c(key_owner text, before_usd numeric, after_usd numeric)
    where c.key_owner = 'platform' having sum(c.after_usd - c.before_usd) <> 0;

    -- raised_usd: by how much some of them cost more, whatever others cost less. A cap may be passed by that.
    insert into headrace.audit (tenant_id, actor, action, target, before, after)
    values (p_tenant, p_actor, 'run.reprice', coalesce(p_model, 'every model'),
            jsonb_build_object('cost_usd', before_usd::text),
            jsonb_build_object('cost_usd', after_usd::text, 'runs', runs, 'raised_usd',
                               v_raised::text, 'reason', p_reason, 'since', p_since, 'until', p_until));
end $$;
