-- Calls and what they cost. All amounts are numeric USD, exact to the last digit.

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
    id                  uuid not null,                       -- UUIDv7, of the worker; travels as X-Client-Request-Id
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
    -- The model that answered, where it is another one than was asked for: a gateway's choice, or a dated name. Prices
    -- go by what was asked for.
    answered_model      text,
    price_id            bigint not null,
    -- A run is priced at the batch rate when it went out in a provider's batch.
    processing          text not null default 'standard' check (processing in ('standard', 'batch')),
    -- The service tier that a provider says it used, where it is not the standard one that was asked for, and how the
    -- run is priced for that: batch, at the price of the provider's batches; reserved, since no price of the tier is
    -- known. Null: at the price of what was asked for (`processing`).
    service_tier        text,
    priced_as           text constraint runs_priced_as check (priced_as in ('batch', 'reserved')),
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
    repriced_at         timestamptz,
    primary key (id, tenant_id),
    check ((status = 'started') = (settled_at is null)),
    check ((status = 'started') = (cost_usd is null)),
    check (cached_input_tokens + cache_write_tokens <= input_tokens)
) partition by range (id);
create index runs_by_tenant on headrace.runs (tenant_id, created_at desc);
create index runs_by_user on headrace.runs (tenant_id, user_id, created_at desc);
create index runs_by_job on headrace.runs (job_id);
-- A run is written twice: when it begins and when it is settled. Without an index that asks for its status, and with
-- room beside it in its page, the second time touches no index and leaves no hole elsewhere. What a claim left open is
-- found by its job.
create table headrace.runs_default partition of headrace.runs default with (fillfactor = 50);
