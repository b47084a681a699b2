-- The newest jobs that fit. Index: jobs_by_tenant when a tenant is given, else the primary key; the bounds on the id
-- prune partitions.
select s.id, s.tenant_id, t.name as tenant, s.user_id, s.feature, s.lane, s.state, s.reason, s.attempts, s.created_at,
       s.ended_at, j.asked_again_as, j.repeats
from headrace.job_status s join headrace.tenants t on t.id = s.tenant_id
join headrace.jobs j on j.id = s.id and j.tenant_id = s.tenant_id
where (%(tenant_id)s::uuid is null or s.tenant_id = %(tenant_id)s)
  and (%(states)s::text[] is null or s.state = any (%(states)s::text[]))
  and (%(feature)s::text is null or s.feature = %(feature)s)
  and (%(user_id)s::text is null or s.user_id = %(user_id)s)
  and (%(lane)s::text is null or s.lane = %(lane)s)
  and (%(since)s::timestamptz is null or s.created_at >= %(since)s)
  and (%(until)s::timestamptz is null or s.created_at < %(until)s)
  and s.id > %(after)s and s.id < %(before)s
order by s.id desc limit %(limit)s;
