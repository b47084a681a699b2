-- What each plan gives its tenants, cheapest first.
select p.name, p.weight, p.daily_cost_cap_usd, p.user_share, p.user_per_minute, p.tenant_per_minute
from headrace.plans p order by p.daily_cost_cap_usd, p.name;
