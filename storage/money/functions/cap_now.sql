-- A cap as it stands, without a lock: its limit (null: none), what its window has spent and what is reserved, USD. For
-- those who plan by it; whoever reserves locks (lock_caps.sql). A cap that nobody has used yet is empty.
create or replace function headrace.cap_now(p_tenant uuid, p_scope text, p_key text, v_now timestamptz,
                                            out limit_usd numeric, out spent_usd numeric, out reserved_usd numeric)
language sql stable
begin atomic
    select coalesce(c.limit_usd, case p_scope when 'tenant' then coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd)
                                 when 'user' then coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd) * p.user_share end),
           case when c.hour < date_trunc('hour', v_now, 'UTC') then coalesce((
                    select sum(b.spent_usd) from headrace.spend_buckets b
                    where b.tenant_id = p_tenant and b.scope = p_scope and b.key = p_key
                      and b.hour >= date_trunc('hour', v_now, 'UTC') - interval '24 hours'), 0)
                else coalesce(c.spent_usd, 0) end,
           coalesce(c.reserved_usd, 0)
    from headrace.tenants t
    join headrace.plans p on p.name = t.plan
    left join headrace.caps c on c.tenant_id = t.id and c.scope = p_scope and c.key = p_key
    where t.id = p_tenant;
end;
