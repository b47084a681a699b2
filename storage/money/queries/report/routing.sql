-- Where jobs were routed, by the rule that decided (a job's first call tells).
select f.tier, f.route_rule as rule, count(*)::integer as jobs
from (select distinct on (r.job_id) r.tier, r.route_rule from headrace.runs r
      where r.tenant_id = any (%s) order by r.job_id, r.id) f
group by f.tier, f.route_rule order by jobs desc;
