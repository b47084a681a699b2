-- Who has left notes (storage/functions/operations/recovery.sql).
select tenants, looked_to from headrace.waking_tenants(%(after)s, %(limit)s);
