-- How many jobs are in each state. Live ones from the queue, ended ones by outcome.
select state, count(*)::integer as jobs from headrace.queue
where %(tenant_id)s::uuid is null or tenant_id = %(tenant_id)s group by state
union all
select outcome, count(*)::integer from headrace.jobs
where outcome is not null and (%(tenant_id)s::uuid is null or tenant_id = %(tenant_id)s) group by outcome;
