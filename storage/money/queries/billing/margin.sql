-- What tenants' usage cost and brought since a day of settling (UTC, it included), dearest first. A closed day brings
-- what it was worth when it was closed, an open one what the price of its day says; a day without a price brings
-- nothing, and its cost is told apart. Index: the primary key of billing_daily when a tenant is given, else a scan.
select coalesce(t.name, b.tenant_id::text) as tenant, b.tenant_id,
       sum(b.calls)::bigint as calls, sum(b.input_tokens)::bigint as input_tokens,
       sum(b.output_tokens)::bigint as output_tokens,
       sum(b.platform_usd) as cost_usd, coalesce(sum(b.platform_usd) filter (where w.usd is null), 0) as unpriced_usd,
       trim_scale(sum(w.usd)) as revenue_usd
from headrace.billing_daily b
left join headrace.tenants t on t.id = b.tenant_id
cross join lateral (select coalesce(b.revenue_usd, headrace.revenue_of(
    headrace.tenant_price_at(b.tenant_id, b.day), b.platform_usd, b.calls, b.input_tokens, b.output_tokens)) as usd) w
where b.day >= %(since)s and (%(tenant_id)s::uuid is null or b.tenant_id = %(tenant_id)s)
group by b.tenant_id, t.name order by cost_usd desc, tenant, b.tenant_id;
