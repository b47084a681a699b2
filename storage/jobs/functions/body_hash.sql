-- What an idempotency key covers: the request without what makes it this one of several tries, and without its times
-- (docs/decisions/0012-idempotency-body.md).
create or replace function headrace.body_hash(p_request jsonb) returns bytea language sql immutable
return sha256(convert_to(
    (p_request - array['id', 'idempotency_key', 'run_at', 'deadline', 'estimated_tokens'])::text, 'UTF8'));
