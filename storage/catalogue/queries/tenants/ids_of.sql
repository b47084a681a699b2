-- The tenants of a name, oldest first. Index: none for names that are shared; a scan of the tenants.
select id from headrace.tenants where name = headrace.composed(%s) order by created_at, id limit 5;
