-- One job as it stands, with what could hold it back. full_cap: lane or feature, whose concurrency cap has no free
-- slot. Index: the primary keys.
select j.id, j.tenant_id, t.name as tenant, j.user_id, j.feature, j.lane, coalesce(j.outcome, q.state) as state,
       coalesce(j.reason, q.reason) as reason, q.rank, q.run_at, q.waits_for, j.deadline, q.claimed_at, j.ended_at,
       j.estimated_tokens, coalesce(t.weight, p.weight)::float8 as weight, t.paused_at as tenant_paused_at,
       f.paused_at as feature_paused_at, l.paused_at as lane_paused_at,
       (select c.scope from headrace.concurrency c
        where c.tenant_id = j.tenant_id and (c.scope, c.key) in (('lane', j.lane), ('feature', j.feature))
          and not exists (
            select from headrace.slots s where s.cap_key = headrace.slot_key(c.tenant_id, c.scope, c.key)
                and s.claim_id is null)
        order by c.scope desc limit 1) as full_cap,
       headrace.now() as now
from headrace.jobs j
join headrace.tenants t on t.id = j.tenant_id
join headrace.plans p on p.name = t.plan
left join headrace.queue q on q.id = j.id and q.tenant_id = j.tenant_id
left join headrace.features f on f.name = j.feature
left join headrace.lanes l on l.name = j.lane
where j.id = %(job_id)s and j.tenant_id = %(tenant_id)s;
