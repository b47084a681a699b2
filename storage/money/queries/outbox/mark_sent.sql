-- An event has been received: whoever finds out. Safe to repeat.
update headrace.outbox set sent_at = headrace.now(), next_try_at = null, unsure_since = null, last_error = null
where id = %(id)s and tenant_id = %(tenant_id)s and sent_at is null;
