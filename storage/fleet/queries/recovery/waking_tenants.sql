-- Who has left notes (storage/fleet/functions/waking_tenants.sql).
select tenants, looked_to from headrace.waking_tenants(%(after)s, %(limit)s);
