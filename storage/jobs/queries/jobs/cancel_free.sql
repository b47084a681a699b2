-- Cancel some jobs in one transaction, those that nobody holds (storage/jobs/functions/cancel_free.sql).
select c.id, c.cancelled from headrace.cancel_free(%(tenant_ids)s::uuid[], %(ids)s::uuid[], %(by)s) c;
