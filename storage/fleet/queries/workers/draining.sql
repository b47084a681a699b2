-- The process takes no more work.
update headrace.workers set draining_at = coalesce(draining_at, headrace.now()) where id = %s;
