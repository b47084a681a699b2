-- The UTC days since one (without one: today) on which a user or a feature of a tenant spent more than a floor, the
-- newest first, within a day the dearest. Index: the unique key of spend_daily, skipping from tenant to tenant.
select s.day, s.tenant_id, coalesce(t.name, s.tenant_id::text) as tenant, w.scope, w.key, sum(s.cost_usd) as spent_usd
from headrace.spend_daily s
-- each row of the rollup counts for its user and for its feature
cross join lateral (values ('user', s.user_id), ('feature', s.feature)) w(scope, key)
left join headrace.tenants t on t.id = s.tenant_id
where s.day >= coalesce(%(since)s::date, (select (headrace.now() at time zone 'UTC')::date))
group by s.day, s.tenant_id, t.name, w.scope, w.key
having sum(s.cost_usd) > %(floor_usd)s
order by s.day desc, spent_usd desc, s.tenant_id, w.scope, w.key;
