-- What chores have set aside, the oldest first. Few rows; what has ended meanwhile, or works
-- again, is not told of.
select s.chore, s.tenant_id, s.job_id, s.error, s.times, s.first_at
from headrace.set_aside s
where case when s.job_id is null then s.until > headrace.now() - interval '1 hour'
           else exists (select from headrace.queue q where q.id = s.job_id and q.tenant_id = s.tenant_id) end
order by s.first_at, s.tenant_id, s.job_id limit %(limit)s;
