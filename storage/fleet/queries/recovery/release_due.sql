-- Scheduled jobs whose time has come (storage/fleet/functions/release_due.sql).
select tenant_id, lane, jobs as turns from headrace.release_due(%(limit)s, %(tenants)s::uuid[]);
