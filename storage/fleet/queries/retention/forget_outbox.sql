-- What was sent, and notices that nobody sends, older than their days, a batch at a time; how many. An event of billing
-- that was not sent stays, however old. Index: outbox_done.
with old as (
    select id, tenant_id from headrace.outbox
    where (sent_at is not null or topic <> 'stripe.meter_event')
      and created_at < (select headrace.now()) - make_interval(days => %(days)s)
    order by created_at limit %(limit)s for update skip locked),
gone as (
    delete from headrace.outbox o using old where o.id = old.id and o.tenant_id = old.tenant_id returning 1)
select count(*) as gone from gone;
