-- What each feature cost.
select r.feature, count(*)::integer as calls, sum(r.input_tokens)::bigint as input_tokens,
       sum(r.output_tokens)::bigint as output_tokens, sum(r.cost_usd) as cost_usd
from headrace.runs r where r.tenant_id = any (%s)
group by r.feature order by cost_usd desc;
