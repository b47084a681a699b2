-- Notes of transactions that were not ours (storage/fleet/functions/drain_wakes.sql).
select tenant_id, lane, jobs as turns from headrace.drain_wakes(%(limit)s, %(tenants)s::uuid[]);
