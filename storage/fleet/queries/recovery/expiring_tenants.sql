-- Whose waiting jobs have passed their deadline (storage/fleet/functions/expiring_tenants.sql).
select tenants, looked_to from headrace.expiring_tenants(%(after)s, %(look)s, %(limit)s);
