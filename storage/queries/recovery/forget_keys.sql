-- Old idempotency keys, a batch at a time. Index: idempotency_age.
delete from headrace.idempotency i using (
    select tenant_id, key from headrace.idempotency
    where created_at < headrace.now() - make_interval(days => %s) order by created_at limit 5000) old
where i.tenant_id = old.tenant_id and i.key = old.key;
