-- Every tenant with its effective cap and weight.
select t.id, t.external_id, t.name, t.plan, coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd) as daily_cost_cap_usd,
       coalesce(t.weight, p.weight) as weight, t.paused_at is not null as paused, t.created_at
from headrace.tenants t join headrace.plans p on p.name = t.plan order by t.created_at, t.id;
