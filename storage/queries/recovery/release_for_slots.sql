-- Jobs that wait for a slot of a concurrency cap and find one free (storage/functions/operations/slots.sql).
select tenant_id, lane, jobs as turns from headrace.release_for_slots(%s);
