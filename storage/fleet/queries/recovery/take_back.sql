-- One job of a lost worker (storage/fleet/functions/take_back.sql).
select tenant_id, lane, job_id, state, reason from headrace.take_back(%s, %s);
