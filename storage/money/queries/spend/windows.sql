-- Each tenant's cap as it stands now, with the hourly buckets of its window (the running hour and the 24 before it),
-- oldest first. Index: the primary keys of caps and spend_buckets.
with clock as materialized (select headrace.now() as now)
select t.id as tenant_id, t.name as tenant, clock.now, c.limit_usd, c.spent_usd, c.reserved_usd, b.hours, b.amounts_usd
from clock
cross join headrace.tenants t
cross join lateral headrace.cap_now(t.id, 'tenant', '', clock.now) c
cross join lateral (
    select coalesce(array_agg(s.hour order by s.hour), '{}') as hours,
           coalesce(array_agg(s.spent_usd order by s.hour), '{}') as amounts_usd
    from headrace.spend_buckets s
    where s.tenant_id = t.id and s.scope = 'tenant' and s.key = ''
      and s.hour >= date_trunc('hour', clock.now, 'UTC') - interval '24 hours') b
where %(tenant_id)s::uuid is null or t.id = %(tenant_id)s
order by t.name, t.id;
