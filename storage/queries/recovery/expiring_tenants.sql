-- Whose waiting jobs have passed their deadline (storage/functions/operations/recovery.sql).
select tenants, looked_to from headrace.expiring_tenants(%(after)s, %(look)s, %(limit)s);
