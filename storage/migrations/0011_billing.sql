-- What tenants are billed, and the events that go out.

-- What a tenant pays, from a day on: a factor on what its calls cost on the platform's key, plus fixed prices.
create table headrace.tenant_prices (
    tenant_id           uuid not null,
    effective_from      date not null,
    cost_factor         numeric not null default 0 check (cost_factor >= 0),
    per_call_usd        numeric not null default 0 check (per_call_usd >= 0),
    input_mtok_usd      numeric not null default 0 check (input_mtok_usd >= 0),
    output_mtok_usd     numeric not null default 0 check (output_mtok_usd >= 0),
    primary key (tenant_id, effective_from)
);

-- What was settled, by UTC day of settling: what is exported to a biller. A day that was exported never changes; what
-- is settled or corrected later goes to the next day that is still open.
create table headrace.billing_daily (
    tenant_id           uuid not null,
    day                 date not null,
    calls               bigint not null default 0,
    input_tokens        bigint not null default 0,
    output_tokens       bigint not null default 0,
    platform_usd        numeric not null default 0,  -- cost on the platform's key; the tenant's own key is its affair
    exported_at         timestamptz,
    -- Frozen when the day is closed: the price of its usage, and how much of that was exported, millionths of a dollar.
    -- What is left below a millionth (or below zero, after a correction) is carried into the tenant's next closed day.
    revenue_usd         numeric,
    billed_micro_usd    bigint check (billed_micro_usd between 0 and 999999999999999),  -- Stripe takes 15 digits
    primary key (tenant_id, day),
    constraint billing_daily_closed_whole check (num_nulls(exported_at, revenue_usd, billed_micro_usd) in (0, 3))
) with (fillfactor = 70);
create index billing_open on headrace.billing_daily (tenant_id, day) where exported_at is null;

-- An event is tried until it is sent; the row is the lease of whoever tries. `unsure_since`: from then on the receiver
-- may have it without our knowing. It is set before a try, and reclaimed when the answer says that nothing was
-- recorded.
create table headrace.outbox (
    id                  bigint generated always as identity,
    tenant_id           uuid not null,
    topic               text not null,
    payload             jsonb not null,
    attempts            integer not null default 0 check (attempts >= 0),
    next_try_at         timestamptz,                         -- null: at once
    unsure_since        timestamptz,
    last_error          text check (length(last_error) <= 1000),
    created_at          timestamptz not null default headrace.now(),
    sent_at             timestamptz,
    primary key (id, tenant_id)
);
create index outbox_unsent on headrace.outbox (topic, coalesce(next_try_at, created_at), id) where sent_at is null;
create unique index outbox_one_event on headrace.outbox (tenant_id, (payload ->> 'identifier'))
    where topic = 'stripe.meter_event';
-- What has been sent, and notices that nobody sends. An event of billing that was not sent stays.
create index outbox_done on headrace.outbox (created_at) where sent_at is not null or topic <> 'stripe.meter_event';
