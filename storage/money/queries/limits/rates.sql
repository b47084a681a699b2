-- The request rates of a tenant as they stand (rate_now.sql), and where each comes from: its own, that of every
-- user, and all that were set for one user or feature or that the policy gives the users of a feature; or only those of
-- one user, one feature, or (both given) those that bind a job of this user in this feature. per_minute null: no such
-- limit.
-- Index: the primary key of rates.
with given as (select headrace.composed(%(user)s) as "user", %(feature)s::text as feature),
own as (select r.scope, r.key from headrace.rates r where r.tenant_id = %(tenant_id)s),
asked as (
    select 'tenant' as scope, '' as key
    union select 'user', coalesce(g."user", '') from given g
    union select x.scope, g.feature from given g cross join (values ('feature'), ('feature_user')) x(scope)
    where g.feature is not null
    union select o.scope, o.key from own o, given g where g."user" is null and g.feature is null
    union select 'feature_user', f.name from headrace.features f, given g
    where f.user_per_minute is not null and f.retired_at is null and g."user" is null and g.feature is null
),
found as (
    select a.scope, a.key, headrace.rate_now(t.id, 'rate:' || a.scope || ':' || a.key) as per_minute,
           case when (a.scope, a.key) in (select o.scope, o.key from own o)
                     then case when a.scope = 'feature_user' then 'feature' when a.key = '' then 'tenant'
                               else a.scope end
                when a.scope = 'feature_user' and exists (
                    select from headrace.features f
                    where f.name = a.key and f.user_per_minute is not null) then 'policy'
                when a.scope = 'user' and ('user', '') in (select o.scope, o.key from own o) then 'tenant'
                when a.scope = 'tenant' and p.tenant_per_minute is not null
                  or a.scope = 'user' and p.user_per_minute is not null then 'plan'
                else 'default' end as source
    from asked a
    join headrace.tenants t on t.id = %(tenant_id)s
    join headrace.plans p on p.name = t.plan
)
select f.scope, f.key, f.per_minute, f.source from found f, given g
-- a job counts under one of the two: the user's own comes first, then what the feature gives each of its users
where g."user" is null or g.feature is null or f.scope in ('tenant', 'feature')
   or f.scope = case when exists (select from own o where o.scope = 'user' and o.key = g."user") then 'user'
                     when exists (select from found x where x.scope = 'feature_user' and x.per_minute is not null)
                     then 'feature_user'
                     else 'user' end
order by array_position(array['tenant', 'user', 'feature', 'feature_user'], f.scope), f.key;
