-- Bind a login to a tenant and say who did it. Bound already: nothing happens, and no audit row is left. A login that
-- does not exist yet may be bound. Index: the primary key.
with bound as (
    insert into headrace.producer_bindings (login, tenant_id)
    select %(login)s::text, t.id from headrace.tenants t where t.id = %(tenant_id)s
    on conflict do nothing returning login, tenant_id
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select b.tenant_id, %(actor)s, 'producers.bind', b.login, null, to_jsonb(b.tenant_id) from bound b;
