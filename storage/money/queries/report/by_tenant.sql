-- Jobs of some tenants: how they ended, how long they waited for their first claim (seconds), what they cost.
select t.name as tenant, t.plan, count(*)::integer as jobs,
       count(*) filter (where j.outcome = 'succeeded')::integer as succeeded,
       count(*) filter (where j.reason = 'over_budget')::integer as stopped_by_cap,
       count(*) filter (where j.outcome not in ('succeeded') and j.reason is distinct from 'over_budget')::integer
           as other,
       percentile_cont(0.5) within group (order by extract(epoch from j.first_claimed_at - j.created_at)) as wait_p50_s,
       percentile_cont(0.95) within group (order by extract(epoch from j.first_claimed_at - j.created_at))
           as wait_p95_s,
       (select coalesce(sum(r.cost_usd), 0) from headrace.runs r where r.tenant_id = t.id) as cost_usd,
       coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd) as cap_usd
from headrace.tenants t
join headrace.plans p on p.name = t.plan
join headrace.jobs j on j.tenant_id = t.id
where t.id = any (%s)
group by t.id, t.name, t.plan, t.daily_cost_cap_usd, p.daily_cost_cap_usd
order by jobs desc, t.name;
