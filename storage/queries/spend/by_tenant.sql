-- What each tenant's calls came to, whole UTC days since one. Index: the unique key of spend_daily when a tenant is given.
select coalesce(t.name, s.tenant_id::text) as tenant, s.tenant_id::text as tenant_id,
       sum(s.calls)::bigint as calls, sum(s.failed_calls)::bigint as failed_calls,
       sum(s.input_tokens)::bigint as input_tokens, sum(s.cached_input_tokens)::bigint as cached_input_tokens,
       sum(s.output_tokens)::bigint as output_tokens, sum(s.cost_usd) as cost_usd
from headrace.spend_daily s left join headrace.tenants t on t.id = s.tenant_id
where s.day >= %(since)s and (%(tenant_id)s::uuid is null or s.tenant_id = %(tenant_id)s)
group by s.tenant_id, t.name order by cost_usd desc, tenant, s.tenant_id;
