-- Set a concurrency cap or take it away (storage/fleet/functions/slots.sql).
select headrace.set_concurrency(%s, %s, %s, %s, %s, %s) as known;
