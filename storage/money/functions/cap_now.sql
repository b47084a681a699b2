-- A cap as it stands, without a lock: its limit (null: none), what its window has spent and what is reserved, USD. For
-- plans; a reservation locks (lock_caps.sql). A cap that was never used is empty.
create or replace function headrace.cap_now(p_tenant uuid, p_scope text, p_key text, v_now timestamptz)
returns headrace.locked_cap language sql stable as $$
select row(p_scope, p_key,
           headrace.cap_limit(c.limit_usd, p_scope, coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd), p.user_share),
           case when c.hour < date_trunc('hour', v_now, 'UTC')
                then headrace.spent_in_window(p_tenant, p_scope, p_key, date_trunc('hour', v_now, 'UTC'))
                else coalesce(c.spent_usd, 0) end,
           coalesce(c.reserved_usd, 0), v_now)::headrace.locked_cap
from headrace.tenants t
join headrace.plans p on p.name = t.plan
left join headrace.caps c on c.tenant_id = t.id and c.scope = p_scope and c.key = p_key
where t.id = p_tenant;
$$;
