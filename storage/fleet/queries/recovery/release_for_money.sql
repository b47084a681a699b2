-- Jobs that wait for room under a cap and fit now (storage/fleet/functions/release_for_money.sql).
select tenant_id, lane, jobs as turns, upto
from headrace.release_for_money(%(tenants)s::uuid[], %(before)s::text[], %(lists)s, %(limit)s, %(within_s)s);
