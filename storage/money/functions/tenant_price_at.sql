-- What a tenant pays for the usage of a day: the row that was last to begin by then; null before the first.
create or replace function headrace.tenant_price_at(p_tenant uuid, p_day date)
returns headrace.tenant_prices language sql stable
return (select p from headrace.tenant_prices p where p.tenant_id = p_tenant and p.effective_from <= p_day
        order by p.effective_from desc limit 1);
