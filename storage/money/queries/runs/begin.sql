-- The write-ahead of one call (storage/money/functions/begin.sql).
select * from headrace.begin(%(tenant_id)s, %(job_id)s, %(claim_id)s, %(run_id)s, %(kind)s, %(provider)s, %(model)s,
    %(tier)s, %(route_rule)s, %(fallback)s, %(input_bound)s, %(max_output_tokens)s, %(min_output_tokens)s,
    %(prompt_id)s,
    %(key_owner)s, %(later)s, %(processing)s);
