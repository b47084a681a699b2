-- How far the jobs of some tenants are.
select s.tenant_id, s.state, count(*)::integer as jobs
from headrace.job_status s where s.tenant_id = any (%s) group by s.tenant_id, s.state;
