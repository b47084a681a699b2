-- Waiting jobs past their deadline (storage/functions/operations/recovery.sql).
select headrace.expire(%(limit)s, %(tenants)s::uuid[]) as expired;
