-- Jobs that wait for a slot of a concurrency cap and find one free (storage/fleet/functions/release_for_slots.sql).
select tenant_id, lane, jobs as turns, upto
from headrace.release_for_slots(%(tenants)s::uuid[], %(before)s::text[], %(lists)s, %(limit)s, %(within_s)s);
