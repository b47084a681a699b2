-- Set a tenant's own request rate (null: take it away, so that the next in line holds) and say who did it. Claims read
-- the rates fresh. No row: there is no such tenant. Index: the primary key of rates.
with gone as (
    delete from headrace.rates r
    where r.tenant_id = %(tenant_id)s and r.scope = %(scope)s and r.key = headrace.composed(%(key)s)
      and %(per_minute)s::integer is null
    returning r.per_minute
),
put as (
    insert into headrace.rates (tenant_id, scope, key, per_minute)
    select t.id, %(scope)s, headrace.composed(%(key)s), %(per_minute)s::integer
    from headrace.tenants t where t.id = %(tenant_id)s and %(per_minute)s::integer is not null
    on conflict (tenant_id, scope, key) do update set per_minute = excluded.per_minute
    returning old.per_minute as before, new.per_minute as after
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select t.id, %(actor)s, 'limits.set_rate', %(target)s,
       to_jsonb(coalesce((select g.per_minute from gone g), (select p.before from put p))),
       to_jsonb((select p.after from put p))
from headrace.tenants t where t.id = %(tenant_id)s;
