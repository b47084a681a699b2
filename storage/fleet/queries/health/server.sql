-- What a connection is and where it leads.
select current_setting('server_version_num')::integer as version_number,
       split_part(current_setting('server_version'), ' ', 1) as version,
       current_user::text as role, r.rolsuper as superuser, r.rolbypassrls as bypasses_row_security,
       exists (select from pg_roles o where o.rolname = 'headrace_ops'
               and pg_has_role(current_user, o.oid, 'member')) as operator,
       exists (select from pg_roles o where o.rolname = 'headrace_owner'
               and pg_has_role(current_user, o.oid, 'member')) as owner,
       (select extversion from pg_extension where extname = 'vector') as vector_version,
       clock_timestamp() as clock
from pg_roles r where r.rolname = current_user;
