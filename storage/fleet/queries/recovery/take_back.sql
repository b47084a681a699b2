-- One job of a lost worker (storage/fleet/functions/recovery.sql).
select tenant_id, lane, job_id, state, reason from headrace.take_back(%s, %s);
