-- Whose scheduled jobs are due (storage/fleet/functions/due_tenants.sql).
select tenants, looked_to from headrace.due_tenants(%(after)s, %(look)s, %(limit)s);
