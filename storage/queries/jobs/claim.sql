-- Claim a tenant's next job (storage/functions/jobs/claim.sql).
select * from headrace.claim(%s, %s, %s, %s, %s, %s, %s);
