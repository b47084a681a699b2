-- The first jobs of lists that wait for a rate (storage/fleet/functions/release_for_rates.sql).
select tenant_id, lane, jobs as turns
from headrace.release_for_rates(%(tenants)s::uuid[], %(lists)s::text[], %(ns)s::integer[]);
