-- Jobs that wait for room under a cap and fit now (storage/functions/operations/waiting.sql).
select tenant_id, lane, jobs as turns from headrace.release_for_money(%s);
