-- Ask some ended jobs anew (storage/jobs/functions/run_again.sql), one after the other, in one transaction. Of jobs
-- that cannot be asked again there is no row.
select t.id as repeats, t.tenant_id, r.job_id, r.lane, r.job_id = t.new_id as created
from unnest(%(ids)s::uuid[], %(tenant_ids)s::uuid[], %(new_ids)s::uuid[]) t(id, tenant_id, new_id)
cross join lateral headrace.run_again(t.tenant_id, t.id, t.new_id, %(by)s) r;
