-- Nothing grows for ever: what the rules of docs/reference/retention.md delete is found by an index.
create index spend_buckets_age on headrace.spend_buckets (hour);
-- What has been sent, and notices that nobody sends. An event of billing that was not sent stays.
create index outbox_done on headrace.outbox (created_at) where sent_at is not null or topic <> 'stripe.meter_event';
