-- What was spent under a cap in the rolling 24 hours, USD: the bucket of this hour and the 24 before it.
create or replace function headrace.spent_in_window(p_tenant uuid, p_scope text, p_key text, p_hour timestamptz)
returns numeric language sql stable
return coalesce((
    select sum(b.spent_usd) from headrace.spend_buckets b
    where b.tenant_id = p_tenant and b.scope = p_scope and b.key = p_key
      and b.hour >= p_hour - interval '24 hours'), 0);
