-- One answer of each feature: the newest that is neither too short nor too long to show.
select distinct on (j.feature) t.name as tenant, j.feature, j.user_id, coalesce(j.variables, '{}') as asked, x.output,
       (select r.model from headrace.runs r where r.id = x.run_id and r.tenant_id = x.tenant_id) as model,
       (select sum(r.cost_usd) from headrace.runs r where r.job_id = j.id and r.tenant_id = j.tenant_id) as cost_usd
from headrace.jobs j
join headrace.results x on x.job_id = j.id and x.tenant_id = j.tenant_id
join headrace.tenants t on t.id = j.tenant_id
where j.tenant_id = any (%s)
order by j.feature, length(x.output) between 80 and 700 desc, j.id desc;
