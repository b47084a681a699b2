-- Every role that this session's login is or can become: by a membership that inherits, that may SET ROLE, or that its
-- member may hand to itself (ADMIN). The login (session_user) and the role that is in force (current_user, where a URL
-- or ALTER ROLE … SET role says so) are both a start, for `reset role` leads back. via: the way there, the start first.
with recursive reach as (
    select r.oid, array[r.rolname::text] as via from pg_roles r where r.rolname in (session_user, current_user)
    union all
    select m.roleid, w.via || o.rolname::text
    from reach w
    join pg_auth_members m on m.member = w.oid and (m.inherit_option or m.set_option or m.admin_option)
    join pg_roles o on o.oid = m.roleid
    where o.rolname <> all (w.via)
),
owners as (
    select n.nspowner as oid from pg_namespace n where n.nspname = 'headrace'
    union
    select c.relowner from pg_class c where c.relnamespace = to_regnamespace('headrace')
)
select distinct on (r.oid) r.rolname::text as role, w.via, r.rolsuper as superuser, r.rolbypassrls as bypasses,
       exists (select from owners o where o.oid = r.oid) as owner
from reach w join pg_roles r on r.oid = w.oid order by r.oid, cardinality(w.via);
