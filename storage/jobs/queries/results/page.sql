-- What became of some jobs, in the order of the ids that are given: of the first of them as many as have most_bytes of
-- answers together, at least one. JSON comes as its text, money and times as texts of their own: no digit is lost, and
-- nothing is in here that a reader cannot hold. Costs and tokens are of all calls of a job; provider and model are of
-- the call that answered, else of the last one. A value's size is told without reading the value, and only those of the
-- page are read. Each table is asked job by job (lateral, limit 1): a join would read a whole month of jobs for a page
-- of them. Indexes: primary keys, runs_by_job (once a partition for all ids).
with calls as materialized (
    select x.job_id, x.tenant_id, count(*) as calls, sum(x.cost_usd) as cost_usd, sum(x.input_tokens) as input_tokens,
           sum(x.cached_input_tokens) as cached_input_tokens, sum(x.output_tokens) as output_tokens,
           max(x.id::text collate "C")::uuid as last_id
    from headrace.runs x where x.job_id = any (%(ids)s::uuid[]) group by x.job_id, x.tenant_id
)
select * from (
    select row_number() over w as place,
           sum(coalesce(octet_length(r.output) * case when r.output_json is null then 1 else 2 end, 0)) over w as bytes,
           j.id::text as job_id, j.tenant_id::text as tenant_id, j.user_id, j.feature, j.lane, j.idempotency_key,
           j.metadata::text as metadata, j.repeats::text as repeats, j.asked_again_as::text as asked_again_as,
           coalesce(j.outcome, q.state) as state, coalesce(j.reason, q.reason) as reason,
           r.output, r.output_json::text as output_json, r.finish, j.error::text as error,
           case when j.outcome is null then q.attempts else j.attempts end as attempts,
           u.provider, u.model, coalesce(c.calls, 0) as calls, c.input_tokens, c.cached_input_tokens, c.output_tokens,
           coalesce(c.cost_usd, 0)::text as cost_usd, r.simulated,
           to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
           to_char(j.ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ended_at
    from unnest(%(ids)s::uuid[], %(tenant_ids)s::uuid[]) with ordinality a(id, tenant_id, n)
    cross join lateral (select x.* from headrace.jobs x where x.id = a.id and x.tenant_id = a.tenant_id limit 1) j
    left join lateral (
        select x.state, x.reason, x.attempts from headrace.queue x
        where j.outcome is null and x.id = a.id and x.tenant_id = a.tenant_id limit 1) q on true
    left join lateral (select x.* from headrace.results x where x.job_id = a.id and x.tenant_id = a.tenant_id limit 1) r
        on true
    left join calls c on c.job_id = a.id and c.tenant_id = a.tenant_id
    left join lateral (
        select x.provider, x.model from headrace.runs x
        where x.id = coalesce(r.run_id, c.last_id) and x.tenant_id = a.tenant_id limit 1) u on true
    window w as (order by a.n)
) page
where page.place = 1 or page.bytes <= %(most_bytes)s
order by page.place;
