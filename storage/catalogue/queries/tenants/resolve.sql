-- Whom an id, an external id or a name means: the best kind of match that there is; two rows when a name is not enough.
-- Indexes: none for names, which people type; a scan of the tenants.
with found as (
    select t.id, t.external_id, t.name, t.plan, coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd)
        as daily_cost_cap_usd,
           coalesce(t.weight, p.weight) as weight, t.paused_at is not null as paused, t.created_at,
           case when t.id::text = lower(%(given)s) then 1 when t.external_id = headrace.composed(%(given)s) then 2
               else 3 end as kind
    from headrace.tenants t join headrace.plans p on p.name = t.plan
    where t.id::text = lower(%(given)s) or t.external_id = headrace.composed(%(given)s)
      or t.name = headrace.composed(%(given)s)
)
select id, external_id, name, plan, daily_cost_cap_usd, weight, paused, created_at
from found where kind = (select min(kind) from found) order by created_at limit 5;
