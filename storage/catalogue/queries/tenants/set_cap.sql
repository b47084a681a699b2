-- Change a tenant's daily cap and say who did it. A limit that was put on the cap's own row by hand would come before
-- it, so it goes. Enqueuers, who hold a share of the tenant's key until they commit, are not waited for.
with before as (select id, daily_cost_cap_usd from headrace.tenants where id = %(tenant_id)s for no key update),
changed as (
    update headrace.tenants t set daily_cost_cap_usd = %(daily_cap_usd)s from before b where t.id = b.id
    returning t.id, t.daily_cost_cap_usd
),
by_hand as (
    update headrace.caps c set limit_usd = null from before b
    where c.tenant_id = b.id and c.scope = 'tenant' and c.key = '' and c.limit_usd is not null
    returning old.limit_usd
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select c.id, %(actor)s, 'tenant.set_cap', 'daily_cost_cap_usd',
       to_jsonb(coalesce((select h.limit_usd from by_hand h), b.daily_cost_cap_usd)::text),
       to_jsonb(c.daily_cost_cap_usd::text)
from changed c join before b on b.id = c.id;
