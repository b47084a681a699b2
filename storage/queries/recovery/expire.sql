-- Waiting jobs past their deadline (storage/functions/operations/recovery.sql).
select headrace.expire(%s) as expired;
