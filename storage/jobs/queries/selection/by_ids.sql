-- Of these ids the jobs that exist, and whether each fits the other filters, in the order of the ids. Index:
-- jobs_one_tenant.
select j.id, j.tenant_id, coalesce(j.outcome, q.state) as state,
       (%(tenant_id)s::uuid is null or j.tenant_id = %(tenant_id)s)
       and (%(states)s::text[] is null or coalesce(j.outcome, q.state) = any (%(states)s::text[]))
       and (%(feature)s::text is null or j.feature = %(feature)s)
       and (%(user_id)s::text is null or j.user_id = %(user_id)s)
       and (%(lane)s::text is null or j.lane = %(lane)s)
       and (%(since)s::timestamptz is null or j.created_at >= %(since)s)
       and (%(until)s::timestamptz is null or j.created_at < %(until)s) as fits
from unnest(%(ids)s::uuid[]) with ordinality a(id, n)
cross join lateral (select x.* from headrace.jobs x where x.id = a.id limit 1) j  -- job by job, by the index
left join lateral (
    select x.state from headrace.queue x where j.outcome is null and x.id = j.id and x.tenant_id = j.tenant_id
    limit 1) q on true
order by a.n;
