-- Set the daily cap of a user or a feature (null: back to the default) and say who did it. `begin` reads this row under
-- its lock, so it holds from the next one on. No row: there is no such tenant. Index: the primary key of caps.
with changed as (
    insert into headrace.caps (tenant_id, scope, key, limit_usd, hour)
    select t.id, %(scope)s, headrace.composed(%(key)s), %(daily_usd)s::numeric,
           date_trunc('hour', headrace.now(), 'UTC')
    from headrace.tenants t where t.id = %(tenant_id)s
    on conflict (tenant_id, scope, key) do update set limit_usd = excluded.limit_usd
    returning new.tenant_id, old.limit_usd as before, new.limit_usd as after
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select c.tenant_id, %(actor)s, 'limits.set_cap', %(target)s, to_jsonb(c.before::text), to_jsonb(c.after::text)
from changed c;
