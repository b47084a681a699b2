-- Tables and views with a tenant that this role may read, and whether row security binds it there.
select c.relname::text as name, c.relkind = 'v' or row_security_active(c.oid) as bound
from pg_class c
where c.relnamespace = to_regnamespace('headrace') and c.relkind in ('r', 'p', 'v') and not c.relispartition
  and has_table_privilege(c.oid, 'select')
  and (c.relname = 'tenants' or exists (
      select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
order by c.relname;
