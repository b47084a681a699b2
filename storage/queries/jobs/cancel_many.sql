-- Cancel some jobs (storage/functions/jobs/cancel.sql), one after the other, in one transaction.
select t.id, headrace.cancel(t.tenant_id, t.id, %(by)s) as cancelled
from unnest(%(ids)s::uuid[], %(tenant_ids)s::uuid[]) t(id, tenant_id);
