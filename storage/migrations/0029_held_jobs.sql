-- Since when a job has waited for providers that are away, that refuse the platform's key or that limit its rate. A wait
-- burns no attempt, so this is what bounds it where the job has no deadline (HEADRACE_HELD_MAX_S). Empty again when the job
-- waits for something else. claim returns it: a function's result cannot be changed in place.
alter table headrace.queue add column held_since timestamptz;
drop function if exists headrace.claim(uuid, text, uuid, uuid, double precision, integer, boolean);
