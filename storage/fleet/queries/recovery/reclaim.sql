-- One job of a lost worker (storage/fleet/functions/reclaim.sql).
select tenant_id, lane, job_id, state, reason from headrace.reclaim(%s, %s);
