-- What each model cost, and how its calls went.
select r.provider, r.model, count(*)::integer as calls,
       count(*) filter (where r.status = 'succeeded')::integer as answered,
       count(*) filter (where r.status = 'failed')::integer as failed,
       count(*) filter (where r.status = 'unknown')::integer as unknown, sum(r.cost_usd) as cost_usd
from headrace.runs r where r.tenant_id = any (%s)
group by r.provider, r.model order by cost_usd desc;
