-- Every login that is bound, with its tenants. exists: there is such a login on this server.
select b.login, b.tenant_id, t.name as tenant, b.created_at,
       exists (select from pg_roles r where r.rolname = b.login and r.rolcanlogin) as exists
from headrace.producer_bindings b join headrace.tenants t on t.id = b.tenant_id
order by b.login, t.name, b.tenant_id;
