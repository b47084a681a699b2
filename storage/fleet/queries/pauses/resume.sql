-- Let a paused tenant, feature or lane go on (kind, key: the tenant's id or the name) and say who did it, in one audit
-- row. What is not paused leaves none. The caller offers turns after the commit (turns.sql). Index: the primary keys.
with of_tenant as (
    update headrace.tenants t set paused_at = null
    where %(kind)s = 'tenant' and t.id::text = %(key)s and t.paused_at is not null
    returning t.id as tenant_id, old.paused_at
),
of_feature as (
    update headrace.features f set paused_at = null
    where %(kind)s = 'feature' and f.name = %(key)s and f.paused_at is not null
    returning null::uuid as tenant_id, old.paused_at
),
of_lane as (
    update headrace.lanes l set paused_at = null
    where %(kind)s = 'lane' and l.name = %(key)s and l.paused_at is not null
    returning null::uuid as tenant_id, old.paused_at
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select c.tenant_id, %(actor)s, 'resume', %(target)s, to_jsonb(c.paused_at), null
from (select * from of_tenant union all select * from of_feature union all select * from of_lane) c;
