-- All that happened to one job, oldest first. Indexes: job_events_by_job, runs_by_job.
select created_at as at, 'enqueued' as what, jsonb_build_object('lane', lane, 'user_id', user_id, 'feature', feature)
    as detail
from headrace.jobs where id = %(job_id)s and tenant_id = %(tenant_id)s
union all
select at, event, detail from headrace.job_events where job_id = %(job_id)s and tenant_id = %(tenant_id)s
union all
select created_at, 'call', jsonb_strip_nulls(jsonb_build_object('run_id', id, 'attempt', attempt, 'provider', provider,
       'model', model, 'tier', tier, 'route_rule', route_rule, 'fallback', fallback, 'reserved_usd',
       reserved_usd::text))
from headrace.runs where job_id = %(job_id)s and tenant_id = %(tenant_id)s
union all
select settled_at, 'call ' || status, jsonb_strip_nulls(jsonb_build_object('run_id', id, 'input_tokens', input_tokens,
       'output_tokens', output_tokens, 'cost_usd', cost_usd::text, 'latency_ms', latency_ms, 'error_code', error_code,
       'http_status', http_status, 'answered_model', answered_model, 'service_tier', service_tier, 'priced_as',
       priced_as,
       'provider_request_id', provider_request_id))
from headrace.runs where job_id = %(job_id)s and tenant_id = %(tenant_id)s and settled_at is not null
union all
select ended_at, outcome, jsonb_strip_nulls(jsonb_build_object('reason', reason, 'attempts', attempts, 'error', error))
from headrace.jobs where id = %(job_id)s and tenant_id = %(tenant_id)s and ended_at is not null
order by at;
