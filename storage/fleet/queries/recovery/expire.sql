-- Waiting jobs past their deadline (storage/fleet/functions/recovery.sql).
select headrace.expire(%(limit)s, %(tenants)s::uuid[]) as expired;
