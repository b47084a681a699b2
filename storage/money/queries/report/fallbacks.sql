-- Jobs that the backup provider answered, by what had failed before.
select a.provider as answered_by, count(*)::integer as jobs,
       count(*) filter (where p.id is null)::integer as breaker_was_open,
       string_agg(distinct coalesce(p.provider || ' ' || p.error_code, 'not even asked'), ', ') as because
from headrace.runs a
left join lateral (select f.id, f.provider, f.error_code from headrace.runs f
                   where f.tenant_id = a.tenant_id and f.job_id = a.job_id and f.claim_id = a.claim_id and f.id < a.id
                   order by f.id desc limit 1) p on true
where a.tenant_id = any (%s) and a.fallback and a.status = 'succeeded'
group by a.provider order by jobs desc;
