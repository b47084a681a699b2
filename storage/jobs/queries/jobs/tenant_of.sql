-- Whose job this is: the one query that asks by the id alone, which belongs to one tenant. Index: jobs_one_tenant.
select tenant_id from headrace.jobs where id = %s;
