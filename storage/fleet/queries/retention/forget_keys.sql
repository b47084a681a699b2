-- Idempotency keys older than their days, a batch at a time and one scheduler at a time; how many. Index:
-- idempotency_age.
with old as (
    select tenant_id, key from headrace.idempotency
    where created_at < (select headrace.now()) - make_interval(days => %(days)s)
      and (select headrace.hold_chore('forget')) order by created_at limit %(limit)s),
gone as (
    delete from headrace.idempotency i using old where i.tenant_id = old.tenant_id and i.key = old.key returning 1)
select count(*) as gone from gone;
