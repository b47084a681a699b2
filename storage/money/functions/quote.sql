-- What a job would meet, told before it exists. quote_requests.sql is the first look, this is the second;
-- producers/quoter.py plans the job between them. They write nothing and lock nothing, so what they say may have
-- changed a moment later. As headrace_app with the tenant set.
--
-- The second look, for the job p_job that does not exist yet and the calls that were planned, [{"provider", "model",
-- "input_bound", "max_output_tokens", "min_output_tokens"}, …]: {"at", "paused": those that are of tenant, lane and
-- feature, "caps": [{"scope", "key", "limit_usd", "spent_usd", "reserved_usd", "room_usd"}, …], "rates": as rates_of
-- says, "calls": [as quote_call says, …]}. Amounts are USD as text, so that no digit is lost.
create or replace function headrace.quote(p_tenant uuid, p_job uuid, p_user text, p_feature text, p_lane text,
                                          p_rank bigint, p_calls jsonb)
returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with moment as materialized (select headrace.now() as at),
    stand as materialized (
        select array_agg(c order by s.n) as caps
        from moment, (values (1, 'tenant', ''), (2, 'user', p_user), (3, 'feature', p_feature)) s(n, scope, key),
             headrace.cap_now(p_tenant, s.scope, s.key, moment.at) c
    ),
    behind as materialized (
        select headrace.caps_behind(p_tenant, p_job, p_lane, p_rank, null, stand.caps) as scopes from stand
    )
    select jsonb_build_object(
        'at', moment.at,
        'paused', to_jsonb(array_remove(array[
            (select 'tenant' from headrace.tenants t where t.id = p_tenant and t.paused_at is not null),
            (select 'lane' from headrace.lanes l where l.name = p_lane and l.paused_at is not null),
            (select 'feature' from headrace.features f where f.name = p_feature and f.paused_at is not null)], null)),
        'caps', (
            select jsonb_agg(jsonb_build_object(
                       'scope', c.scope, 'key', c.key, 'limit_usd', c.limit_usd::text, 'spent_usd', c.spent_usd::text,
                       'reserved_usd', c.reserved_usd::text, 'room_usd', case when c.limit_usd is not null
                           then greatest(c.limit_usd - c.spent_usd - c.reserved_usd, 0) end::text) order by c.n)
            from unnest(stand.caps) with ordinality c(scope, key, limit_usd, spent_usd, reserved_usd, at, n)),
        'rates', coalesce((
            select headrace.rates_of(p_tenant, p, jsonb_populate_record(null::headrace.queue, jsonb_build_object(
                       'id', p_job, 'user_id', p_user, 'feature', p_feature, 'lane', p_lane, 'rank', p_rank)))
            from headrace.tenants t join headrace.plans p on p.name = t.plan where t.id = p_tenant), '[]'),
        'calls', coalesce((
            select jsonb_agg(headrace.quote_call(p_tenant, stand.caps, behind.scopes, x.call, moment.at) order by x.n)
            from jsonb_array_elements(p_calls) with ordinality x(call, n)), '[]'))
    from moment, stand, behind;
$$;
