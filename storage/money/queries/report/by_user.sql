-- The users who spent most.
select t.name as tenant, r.user_id, count(*)::integer as calls, sum(r.cost_usd) as cost_usd
from headrace.runs r join headrace.tenants t on t.id = r.tenant_id
where r.tenant_id = any (%s)
group by t.name, r.user_id order by cost_usd desc, r.user_id limit 8;
