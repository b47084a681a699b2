-- Live jobs: how many stand where, since when the oldest is queued, how many are overdue. A scan of the live jobs.
select count(*) filter (where state = 'queued') as queued, count(*) filter (where state = 'scheduled') as scheduled,
       count(*) filter (where state = 'running') as running,
       extract(epoch from headrace.now() - min(created_at) filter (where state = 'queued'))::float8 as oldest_queued_s
from headrace.queue;
