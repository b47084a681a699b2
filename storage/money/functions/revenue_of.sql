-- What usage is worth at a tenant's price, USD, exact: a factor on the platform's cost, and so much a call and a
-- million tokens. Null without a price.
create or replace function headrace.revenue_of(
    p headrace.tenant_prices, platform_usd numeric, calls bigint, input bigint, output bigint)
returns numeric language sql immutable
return platform_usd * p.cost_factor + calls * p.per_call_usd
       + (input * p.input_mtok_usd + output * p.output_mtok_usd) * 0.000001;
