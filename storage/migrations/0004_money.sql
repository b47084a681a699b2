-- Money: prices, runs, caps, reservations, buckets and rollups. All amounts are numeric USD, exact to the last digit.

create table headrace.model_prices (
    id                  bigint generated always as identity primary key,
    provider            text not null,
    model               text not null,
    effective_from      timestamptz not null,
    -- USD per million tokens; null cache rates are billed as plain input
    input_usd           numeric not null check (input_usd >= 0),
    cached_input_usd    numeric check (cached_input_usd >= 0),
    cache_write_usd     numeric check (cache_write_usd >= 0),
    output_usd          numeric not null check (output_usd >= 0),
    -- a prompt of more than `long_from` tokens is billed whole at the long rates
    long_from           integer check (long_from > 0),
    long_input_usd      numeric check (long_input_usd >= 0),
    long_cached_input_usd numeric check (long_cached_input_usd >= 0),
    long_cache_write_usd  numeric check (long_cache_write_usd >= 0),
    long_output_usd     numeric check (long_output_usd >= 0),
    batch_discount      numeric not null default 0 check (batch_discount >= 0 and batch_discount < 1),
    source              text not null,
    source_hash         text not null,
    created_at          timestamptz not null default headrace.now(),
    unique (provider, model, effective_from),
    check (long_from is null or (long_input_usd is not null and long_output_usd is not null))
);

-- One row for each call on the wire, written before the call (write-ahead).
create table headrace.runs (
    id                  uuid not null,                       -- UUIDv7, made by the worker; travels as X-Client-Request-Id
    tenant_id           uuid not null,
    job_id              uuid not null,                       -- no foreign key: the books outlive the jobs
    claim_id            uuid not null,
    attempt             integer not null check (attempt >= 1),
    user_id             text not null,
    feature             text not null,
    prompt_id           uuid,
    kind                text not null check (kind in ('answer', 'classify', 'judge', 'embed')),
    tier                text,
    route_rule          text not null,
    fallback            boolean not null default false,      -- the backup after the primary failed
    provider            text not null,
    model               text not null,
    price_id            bigint not null,
    key_owner           text not null default 'platform' check (key_owner in ('platform', 'tenant')),
    max_output_tokens   integer not null check (max_output_tokens >= 0),
    input_tokens        integer check (input_tokens >= 0),   -- all input, cached and cache-write included
    cached_input_tokens integer check (cached_input_tokens >= 0),
    cache_write_tokens  integer check (cache_write_tokens >= 0),
    output_tokens       integer check (output_tokens >= 0),  -- reasoning included
    reasoning_tokens    integer check (reasoning_tokens >= 0),
    reserved_usd        numeric not null check (reserved_usd >= 0),
    cost_usd            numeric check (cost_usd >= 0),
    over_reserved_usd   numeric not null default 0 check (over_reserved_usd >= 0),  -- billed beyond the bound: flagged
    status              text not null default 'started' check (status in ('started', 'succeeded', 'failed', 'unknown')),
    error_code          text,
    http_status         integer,
    provider_request_id text,
    latency_ms          integer check (latency_ms >= 0),
    created_at          timestamptz not null default headrace.now(),
    settled_at          timestamptz,
    primary key (id, tenant_id),
    check ((status = 'started') = (settled_at is null)),
    check ((status = 'started') = (cost_usd is null)),
    check (cached_input_tokens + cache_write_tokens <= input_tokens)
) partition by range (id);
create index runs_by_tenant on headrace.runs (tenant_id, created_at desc);
create index runs_by_user on headrace.runs (tenant_id, user_id, created_at desc);
create index runs_by_job on headrace.runs (job_id);
create index runs_open on headrace.runs (claim_id) where status = 'started';
create table headrace.runs_default partition of headrace.runs default with (fillfactor = 85);
alter table headrace.runs_default enable row level security, force row level security;

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

create table headrace.spend_buckets (
    tenant_id           uuid not null,
    scope               text not null,
    key                 text not null,
    hour                timestamptz not null,                -- of the run's start
    spent_usd           numeric not null,
    primary key (tenant_id, scope, key, hour)
) with (fillfactor = 70);

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
    unique nulls not distinct (tenant_id, day, user_id, feature, prompt_id, provider, model, key_owner)
) with (fillfactor = 70);

do $$
declare t text;
begin
    foreach t in array array['runs', 'caps', 'spend_buckets', 'reservations', 'spend_daily'] loop
        execute format('alter table headrace.%I enable row level security, force row level security', t);
        execute format($p$create policy tenant_bound on headrace.%I to headrace_app, headrace_owner
            using (tenant_id = (select headrace.current_tenant()))
            with check (tenant_id = (select headrace.current_tenant()))$p$, t);
        execute format('create policy operators on headrace.%I to headrace_ops using (true) with check (true)', t);
    end loop;
end $$;
