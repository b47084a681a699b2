-- Change a tenant's weight (null: the plan's) and say who did it. Claims read it fresh, and the wire only ever sees
-- work divided by it, so the backlog that is there is dealt by the new weight at once. No row: there is no such tenant.
with changed as (
    update headrace.tenants t set weight = %(weight)s where t.id = %(tenant_id)s
    returning t.id, old.weight as before, new.weight as after
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select c.id, %(actor)s, 'tenant.set_weight', 'weight', to_jsonb(c.before::text), to_jsonb(c.after::text) from changed c;
