-- What was done on a lane lately, by tenant: jobs whose calls began within `window_s`, how many of those have settled,
-- their tokens (where still unknown: the estimate), and when the first and the last of them began. Of all calls no more
-- than the newest `most` are looked at. Index: the primary key of runs, whose ids are in the order of time; partitions
-- are pruned.
select j.tenant_id, count(*)::integer as jobs, count(*) filter (where r.settled)::integer as settled,
       sum(coalesce(nullif(r.tokens, 0), j.estimated_tokens))::float8 as tokens, min(r.began) as first,
       max(r.began) as last
from (
    select x.job_id, x.tenant_id, bool_and(x.status <> 'started') as settled, min(x.created_at) as began,
           sum(coalesce(x.input_tokens, 0)::bigint + coalesce(x.output_tokens, 0)) as tokens
    from (select c.job_id, c.tenant_id, c.status, c.created_at, c.input_tokens, c.output_tokens from headrace.runs c
          -- once, or no index would do
          where c.id >= (select headrace.uuid_at(headrace.now() - make_interval(secs => %(window_s)s)))
          order by c.id desc limit %(most)s) x
    group by x.job_id, x.tenant_id) r
join headrace.jobs j on j.id = r.job_id and j.tenant_id = r.tenant_id
where j.lane = %(lane)s
group by j.tenant_id;
