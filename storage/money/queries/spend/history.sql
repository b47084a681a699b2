-- What some users and features (three lists side by side: tenants, scopes, keys) spent since a day, the days with spend
-- only, oldest first. The lists come as they are and not as a sub-query, so that the planner knows how few they are.
-- Index: the unique key of spend_daily.
select s.tenant_id, w.scope, w.key, s.day, sum(s.cost_usd) as usd
from headrace.spend_daily s
cross join lateral (values ('user', s.user_id), ('feature', s.feature)) w(scope, key)
join unnest(%(tenant_ids)s::uuid[], %(scopes)s::text[], %(keys)s::text[]) as asked(tenant_id, scope, key)
     on asked.tenant_id = s.tenant_id and asked.scope = w.scope and asked.key = w.key
where s.day >= %(since)s::date and s.tenant_id = any (%(tenant_ids)s::uuid[])
group by s.tenant_id, w.scope, w.key, s.day
having sum(s.cost_usd) > 0
order by s.day;
