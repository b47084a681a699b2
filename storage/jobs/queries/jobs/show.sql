-- One job with its answer and the cost of all its runs. Index: primary keys, runs_by_job.
select s.id, s.tenant_id, s.user_id, s.feature, s.lane, s.state, s.reason, j.error, s.attempts, s.run_at, s.deadline,
       s.created_at, s.ended_at, r.output, r.output_json, r.finish, r.simulated,
       j.asked_again_as, j.repeats,
       (select coalesce(sum(x.cost_usd), 0) from headrace.runs x where x.job_id = s.id and x.tenant_id = s.tenant_id)
           as cost_usd
from headrace.job_status s
join headrace.jobs j on j.id = s.id and j.tenant_id = s.tenant_id
left join headrace.results r on r.job_id = s.id and r.tenant_id = s.tenant_id
where s.id = %(job_id)s and s.tenant_id = %(tenant_id)s;
