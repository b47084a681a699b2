-- What chores have set aside, the oldest first. Few rows; a row whose job has ended meanwhile is not told of.
select s.chore, s.tenant_id, s.job_id, s.error, s.times, s.first_at
from headrace.set_aside s
where s.job_id is null or exists (select from headrace.queue q where q.id = s.job_id and q.tenant_id = s.tenant_id)
order by s.first_at, s.tenant_id, s.job_id limit %(limit)s;
