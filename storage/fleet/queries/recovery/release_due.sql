-- Scheduled jobs whose time has come (storage/fleet/functions/recovery.sql).
select tenant_id, lane, jobs as turns from headrace.release_due(%(limit)s, %(tenants)s::uuid[]);
