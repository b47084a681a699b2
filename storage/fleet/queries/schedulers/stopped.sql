-- The process has ended.
update headrace.schedulers set stopped_at = headrace.now() where id = %(id)s and stopped_at is null;
