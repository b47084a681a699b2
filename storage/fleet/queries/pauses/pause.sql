-- Pause a tenant, a feature or a lane (kind, key: the tenant's id or the name) and say who did it, in one audit row.
-- What is paused already stays as it was, and leaves none. Claims and the sweep read the columns fresh. Enqueuers, who
-- hold a share of the tenant's key until they commit, are not waited for. Index: the primary keys.
with of_tenant as (
    update headrace.tenants t set paused_at = headrace.now()
    where %(kind)s = 'tenant' and t.id::text = %(key)s and t.paused_at is null returning t.id as tenant_id, t.paused_at
),
of_feature as (
    update headrace.features f set paused_at = headrace.now()
    where %(kind)s = 'feature' and f.name = %(key)s and f.paused_at is null
    returning null::uuid as tenant_id, f.paused_at
),
of_lane as (
    update headrace.lanes l set paused_at = headrace.now()
    where %(kind)s = 'lane' and l.name = %(key)s and l.paused_at is null returning null::uuid as tenant_id, l.paused_at
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select c.tenant_id, %(actor)s, 'pause', %(target)s, null, to_jsonb(c.paused_at)
from (select * from of_tenant union all select * from of_feature union all select * from of_lane) c;
