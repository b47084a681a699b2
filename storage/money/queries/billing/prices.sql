-- What a tenant pays, newest first. Index: the primary key of tenant_prices.
select effective_from, cost_factor, per_call_usd, input_mtok_usd, output_mtok_usd
from headrace.tenant_prices where tenant_id = %s order by effective_from desc;
