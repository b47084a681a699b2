-- Set a concurrency cap or take it away (storage/fleet/functions/set_concurrency.sql).
select headrace.set_concurrency(%s, %s, %s, %s, %s, %s) as known;
