-- The caps of a tenant as they stand (cap_now.sql), and where each limit comes from: its own, and those of every user
-- and feature that has a row; or only those of one user, one feature or both, row or not. Limits that somebody set come
-- first, then whoever has spent most. Index: the primary keys of caps and spend_buckets.
with asked as (
    select 'tenant' as scope, '' as key
    union
    select c.scope, c.key from headrace.caps c
    where c.tenant_id = %(tenant_id)s and c.scope <> 'tenant' and %(user)s::text is null and %(feature)s::text is null
    union
    select g.scope, g.key from (values ('user', headrace.composed(%(user)s)),
        ('feature', %(feature)s::text)) g(scope, key) where g.key is not null
)
select a.scope, a.key, n.limit_usd, n.spent_usd, n.reserved_usd,
       case when c.limit_usd is not null then a.scope
            when a.scope = 'feature' then 'default'
            when t.daily_cost_cap_usd is not null then 'tenant' else 'plan' end as source
from asked a
join headrace.tenants t on t.id = %(tenant_id)s
cross join lateral headrace.cap_now(t.id, a.scope, a.key, headrace.now()) n
left join headrace.caps c on c.tenant_id = t.id and c.scope = a.scope and c.key = a.key
order by array_position(array['tenant', 'user', 'feature'], a.scope), c.limit_usd is null, n.spent_usd desc, a.key;
