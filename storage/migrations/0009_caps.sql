-- Caps on spend, request rates, and what was spent.

-- A cap's row carries the running total of the rolling 24 hours, so that a check reads one row and sums nothing.
create table headrace.caps (
    tenant_id           uuid not null,
    scope               text not null check (scope in ('tenant', 'user', 'feature')),
    key                 text not null,                       -- '' for the tenant, the user id, the feature
    limit_usd           numeric check (limit_usd >= 0),      -- null: the default (tenant: its own or the plan's;
                                                             -- user: the plan's share of it; feature: none)
    hour                timestamptz not null,                -- the hour for which spent_usd was last summed
    spent_usd           numeric not null default 0,          -- of the window: this hour's bucket and the 24 before it
    reserved_usd        numeric not null default 0 check (reserved_usd >= 0),
    warned_at           timestamptz,                         -- set on crossing 80 % of spent, cleared under 75 %
    primary key (tenant_id, scope, key),
    check (scope <> 'tenant' or key = '')
) with (fillfactor = 50);

-- A cap as it is locked: who works under several of them at once hands them on.
-- at: when the caps were locked. Their window, the run's start and the hour of its bucket go by this one time.
create type headrace.locked_cap as (
    scope text, key text, limit_usd numeric, spent_usd numeric, reserved_usd numeric, at timestamptz);

create table headrace.spend_buckets (
    tenant_id           uuid not null,
    scope               text not null,
    key                 text not null,
    hour                timestamptz not null,                -- of the run's start
    spent_usd           numeric not null,
    primary key (tenant_id, scope, key, hour)
) with (fillfactor = 70);
-- Nothing grows for ever: what the rules of docs/reference/retention.md delete is found by an index.
create index spend_buckets_age on headrace.spend_buckets (hour);

-- What a live claim still holds under the caps: the sum of its open runs and of its planned calls.
create table headrace.reservations (
    claim_id            uuid not null,
    tenant_id           uuid not null,
    job_id              uuid not null,
    user_id             text not null,
    feature             text not null,
    amount_usd          numeric not null check (amount_usd >= 0),
    created_at          timestamptz not null default headrace.now(),
    primary key (claim_id, tenant_id)
) with (fillfactor = 70);

-- Requests a minute, a tenant's own, before the plan's and the feature's: of the tenant ('tenant', ''), of every user
-- of it ('user', ''), of one user ('user', id), of a feature in all ('feature', name), of each user in a feature
-- ('feature_user', name).
create table headrace.rates (
    tenant_id           uuid not null,
    scope               text not null check (scope in ('tenant', 'user', 'feature', 'feature_user')),
    key                 text not null,
    per_minute          integer not null check (per_minute >= 1),
    primary key (tenant_id, scope, key),
    check (scope <> 'tenant' or key = ''),
    check (scope not in ('feature', 'feature_user') or key <> '')
);

create table headrace.spend_daily (
    day                 date not null,                       -- UTC, of the run's start
    tenant_id           uuid not null,
    user_id             text not null,
    feature             text not null,
    prompt_id           uuid,
    provider            text not null,
    model               text not null,
    key_owner           text not null,
    calls               bigint not null,
    failed_calls        bigint not null,
    input_tokens        bigint not null,
    cached_input_tokens bigint not null,
    output_tokens       bigint not null,
    cost_usd            numeric not null,
    -- What the calls had reserved, and what was billed beyond it: estimate against actual without a look at every run.
    reserved_usd        numeric not null default 0,
    over_calls          bigint not null default 0,
    over_reserved_usd   numeric not null default 0,
    unique nulls not distinct (tenant_id, day, user_id, feature, prompt_id, provider, model, key_owner)
) with (fillfactor = 70);
-- What was spent today, of all tenants, without a look at other days. The index is written once a row and day: what is
-- added to a row later touches no index.
create index spend_daily_by_day on headrace.spend_daily (day);
