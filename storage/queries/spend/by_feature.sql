-- What each feature's calls came to. Index: as by_tenant.sql.
select s.feature,
       sum(s.calls)::bigint as calls, sum(s.failed_calls)::bigint as failed_calls,
       sum(s.input_tokens)::bigint as input_tokens, sum(s.cached_input_tokens)::bigint as cached_input_tokens,
       sum(s.output_tokens)::bigint as output_tokens, sum(s.cost_usd) as cost_usd
from headrace.spend_daily s
where s.day >= %(since)s and (%(tenant_id)s::uuid is null or s.tenant_id = %(tenant_id)s)
group by s.feature order by cost_usd desc, s.feature;
