-- Billing: what a closed day was worth, and what became of each try to send an event on.

-- Frozen when the day is closed: the price of its usage, and how much of that was exported, millionths of a dollar. What
-- is left below a millionth (or below zero, after a correction) is carried into the tenant's next closed day.
alter table headrace.billing_daily
    add column revenue_usd numeric,
    add column billed_micro_usd bigint check (billed_micro_usd between 0 and 999999999999999),  -- Stripe takes 15 digits
    add constraint billing_daily_closed_whole check (num_nulls(exported_at, revenue_usd, billed_micro_usd) in (0, 3));
create index billing_open on headrace.billing_daily (tenant_id, day) where exported_at is null;

-- An exported day never changes, whoever asks: no role of ours can see it for an update.
create policy exported_stays on headrace.billing_daily as restrictive for update using (exported_at is null) with check (true);

-- An event is tried until it is sent; the row is the lease of whoever tries. `unsure_since`: from then on the receiver may
-- have it without our knowing. It is set before a try, and taken back when the answer says that nothing was recorded.
alter table headrace.outbox
    add column attempts integer not null default 0 check (attempts >= 0),
    add column next_try_at timestamptz,                      -- null: at once
    add column unsure_since timestamptz,
    add column last_error text check (length(last_error) <= 1000);
drop index headrace.outbox_unsent;
create index outbox_unsent on headrace.outbox (topic, coalesce(next_try_at, created_at), id) where sent_at is null;
create unique index outbox_one_event on headrace.outbox (tenant_id, (payload ->> 'identifier'))
    where topic = 'stripe.meter_event';
