-- Who has jobs that wait for room (storage/fleet/functions/waiting_tenants.sql).
select tenants, looked_to from headrace.waiting_tenants(%(after)s, %(limit)s);
