-- Change a tenant's daily cap and say who did it.
with before as (select id, daily_cost_cap_usd from headrace.tenants where id = %(tenant_id)s for update),
changed as (
    update headrace.tenants t set daily_cost_cap_usd = %(daily_cap_usd)s from before b where t.id = b.id
    returning t.id, t.daily_cost_cap_usd
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select c.id, %(actor)s, 'tenant.set_cap', 'daily_cost_cap_usd', to_jsonb(b.daily_cost_cap_usd::text),
       to_jsonb(c.daily_cost_cap_usd::text)
from changed c join before b on b.id = c.id;
