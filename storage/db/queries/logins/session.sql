-- What is in force in a session that has done nothing yet: the login, the role, the tenant (empty: none), and whether
-- the role has the rights of the one that it should be.
select session_user::text as login, current_user::text as role,
       coalesce(current_setting('app.tenant_id', true), '') as tenant,
       exists (select from pg_roles r where r.rolname = %(role)s and pg_has_role(current_user, r.oid, 'usage'))
           as is_member;
