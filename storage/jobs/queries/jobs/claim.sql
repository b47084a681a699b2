-- Claim a tenant's next job (storage/jobs/functions/claim.sql).
select * from headrace.claim(%s, %s, %s, %s, %s, %s, %s);
