-- One job in the caller's own transaction (storage/jobs/functions/enqueue.sql).
select headrace.enqueue(%(tenant_id)s, %(user_id)s, %(feature)s, %(prompt)s, %(variables)s, %(messages)s, %(context)s,
    %(output_schema)s, %(max_output_tokens)s::integer, %(lane)s, %(idempotency_key)s, %(run_at)s::timestamptz,
    %(deadline)s::timestamptz, %(on_over_budget)s, %(on_unknown)s, %(force_tier)s, %(metadata)s, %(id)s::uuid,
    %(estimated_tokens)s::bigint);
