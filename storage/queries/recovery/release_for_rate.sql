-- The first jobs of a list that waits for a rate (storage/functions/operations/waiting.sql).
select tenant_id, lane, jobs as turns from headrace.release_for_rate(%(tenant_id)s, %(waits_for)s, %(n)s);
