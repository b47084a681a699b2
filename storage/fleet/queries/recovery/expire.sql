-- Waiting jobs past their deadline (storage/fleet/functions/expire.sql).
select headrace.expire(%(limit)s, %(tenants)s::uuid[]) as expired;
