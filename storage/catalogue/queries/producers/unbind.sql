-- Take a login's binding to a tenant away and say who did it. p_last: also when it is the last one, after which the
-- login may enqueue for every tenant. The login's rows are locked first, so two that take one each see each other.
with mine as materialized (
    select b.login, b.tenant_id from headrace.producer_bindings b where b.login = %(login)s order by b.tenant_id
    for update
),
gone as (
    delete from headrace.producer_bindings b using mine m
    where b.login = m.login and b.tenant_id = m.tenant_id and b.tenant_id = %(tenant_id)s
      and (%(last)s or (select count(*) from mine) > 1)
    returning b.login, b.tenant_id
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select g.tenant_id, %(actor)s, 'producers.unbind', g.login, to_jsonb(g.tenant_id), null from gone g;
