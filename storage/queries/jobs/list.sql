-- The newest jobs. Index: jobs_by_tenant when a tenant is given.
select s.id, s.tenant_id, t.name as tenant, s.user_id, s.feature, s.lane, s.state, s.reason, s.attempts, s.created_at,
       s.ended_at, j.asked_again_as, j.repeats
from headrace.job_status s join headrace.tenants t on t.id = s.tenant_id
join headrace.jobs j on j.id = s.id and j.tenant_id = s.tenant_id
where (%(tenant_id)s::uuid is null or s.tenant_id = %(tenant_id)s)
  and (%(state)s::text is null or s.state = %(state)s)
  and (%(feature)s::text is null or s.feature = %(feature)s)
order by s.id desc limit %(limit)s;
