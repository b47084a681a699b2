-- A new tenant. same_name: also where another one has its name; the first of a name has it to itself (index
-- tenants_one_name).
insert into headrace.tenants (id, external_id, name, plan, daily_cost_cap_usd, shares_name)
select %(id)s, headrace.composed(%(external_id)s), n.name, %(plan)s, %(daily_cap_usd)s,
       %(same_name)s and exists (select from headrace.tenants t where t.name = n.name)
from (select headrace.composed(%(name)s) as name) n;
