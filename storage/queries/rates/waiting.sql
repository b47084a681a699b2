-- Every list of jobs that wait for a rate, with the rate as it is now (storage/functions/operations/waiting.sql).
select l.tenant_id, l.waits_for, headrace.rate_now(l.tenant_id, l.waits_for) as per_minute
from headrace.waiting_lists(array['rate']) l;
