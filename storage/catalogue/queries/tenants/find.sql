-- One tenant by id, external id or name.
select t.id, t.external_id, t.name, t.plan, coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd) as daily_cost_cap_usd,
       coalesce(t.weight, p.weight) as weight, t.paused_at is not null as paused, t.created_at
from headrace.tenants t join headrace.plans p on p.name = t.plan
where t.id::text = %(given)s or t.external_id = headrace.composed(%(given)s) or t.name = headrace.composed(%(given)s)
order by t.id::text = %(given)s desc, t.external_id is not distinct from headrace.composed(%(given)s) desc,
    t.created_at desc limit 1;
