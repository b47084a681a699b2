-- What pricing anew would come to, a row a tenant, without doing it (storage/money/functions/mispriced.sql says which
-- runs).
select t.id as tenant_id, t.name as tenant, count(*) as runs, trim_scale(sum(m.was_usd)) as before_usd,
       trim_scale(sum(m.cost_usd)) as after_usd
from headrace.mispriced(%(tenant_id)s, %(since)s, %(until)s, %(model)s) m
join headrace.tenants t on t.id = m.tenant_id
group by t.id, t.name
order by t.name, t.id;
