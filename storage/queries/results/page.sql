-- What became of some jobs, in the order of the ids that are given: of the first of them as many as have most_bytes of answers
-- together, at least one. JSON comes as its text, money and times as texts of their own: no digit is lost, and nothing is in
-- here that a reader cannot hold. Costs and tokens are of all calls of a job; provider and model are of the call that answered,
-- else of the last one. Indexes: primary keys, runs_by_job (once a partition for all ids, not once a job).
with asked as materialized (
    select row_number() over (order by a.n) as n, a.id, a.tenant_id
    from unnest(%(ids)s::uuid[], %(tenant_ids)s::uuid[]) with ordinality a(id, tenant_id, n)
    join headrace.jobs j on j.id = a.id and j.tenant_id = a.tenant_id
),
sized as materialized (  -- a value's size is told without reading the value
    select a.n, a.id, a.tenant_id,
           sum(coalesce(octet_length(r.output) * case when r.output_json is null then 1 else 2 end, 0)) over (order by a.n) as bytes
    from asked a left join headrace.results r on r.job_id = a.id and r.tenant_id = a.tenant_id
),
page as materialized (
    select s.n, s.id, s.tenant_id from sized s where s.n = 1 or s.bytes <= %(most_bytes)s
),
calls as materialized (
    select x.job_id, x.tenant_id, count(*) as calls, sum(x.cost_usd) as cost_usd, sum(x.input_tokens) as input_tokens,
           sum(x.cached_input_tokens) as cached_input_tokens, sum(x.output_tokens) as output_tokens,
           (array_agg(x.id order by x.id desc))[1] as last_id
    from headrace.runs x where x.job_id = any (%(ids)s::uuid[]) group by x.job_id, x.tenant_id
)
select j.id::text as job_id, j.tenant_id::text as tenant_id, j.user_id, j.feature, j.lane, j.idempotency_key,
       j.metadata::text as metadata, j.repeats::text as repeats, j.asked_again_as::text as asked_again_as,
       coalesce(j.outcome, q.state) as state, coalesce(j.reason, q.reason) as reason,
       r.output, r.output_json::text as output_json, r.finish, j.error::text as error,
       case when j.outcome is null then q.attempts else j.attempts end as attempts,
       u.provider, u.model, coalesce(c.calls, 0) as calls, c.input_tokens, c.cached_input_tokens, c.output_tokens,
       coalesce(c.cost_usd, 0)::text as cost_usd, r.simulated,
       to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
       to_char(j.ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ended_at
from page p
join headrace.jobs j on j.id = p.id and j.tenant_id = p.tenant_id
left join headrace.queue q on j.outcome is null and q.id = j.id and q.tenant_id = j.tenant_id
left join headrace.results r on r.job_id = j.id and r.tenant_id = j.tenant_id
left join calls c on c.job_id = j.id and c.tenant_id = j.tenant_id
left join headrace.runs u on u.id = coalesce(r.run_id, c.last_id) and u.tenant_id = j.tenant_id
order by p.n;
