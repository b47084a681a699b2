-- The process has ended.
update headrace.workers set stopped_at = headrace.now() where id = %s and stopped_at is null;
