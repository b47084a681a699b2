-- Lists of jobs that wait for a rate, with the rate as it is now (storage/fleet/functions/lists_of_rates.sql).
select tenant_id, waits_for, per_minute, upto
from headrace.lists_of_rates(%(tenants)s::uuid[], %(before)s::text[], %(lists)s);
