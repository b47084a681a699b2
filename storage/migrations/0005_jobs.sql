-- Jobs. `jobs` holds request and outcome for good; `queue` holds live jobs only, narrow, and is deleted from when the
-- job ends (which is the fence against a second ending). docs/decisions/0003-storage-at-ten-million-rows.md says why.

create table headrace.jobs (
    id                  uuid not null,                       -- UUIDv7, made by the caller
    tenant_id           uuid not null references headrace.tenants (id),
    user_id             text not null check (length(user_id) between 1 and 200),
    feature             text not null,
    lane                text not null,
    prompt              text,
    variables           jsonb,
    messages            jsonb,
    context             jsonb,
    output_schema       jsonb,
    max_output_tokens   integer check (max_output_tokens between 1 and 200000),
    estimated_tokens    bigint not null check (estimated_tokens >= 1),
    run_at              timestamptz,
    deadline            timestamptz,
    on_over_budget      text not null default 'fail' check (on_over_budget in ('fail', 'wait')),
    on_unknown          text not null default 'retry' check (on_unknown in ('retry', 'fail')),
    force_tier          text check (force_tier in ('cheap', 'strong')),
    metadata            jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
    idempotency_key     text,
    created_at          timestamptz not null default headrace.now(),
    -- the outcome, written once
    outcome             text check (outcome in ('succeeded', 'failed', 'rejected', 'cancelled', 'expired')),
    reason              text,
    error               jsonb,
    attempts            integer not null default 0 check (attempts >= 0),
    first_claimed_at    timestamptz,
    ended_at            timestamptz,
    ended_claim         uuid,
    -- A job that ended without an answer is asked again once, and each of the two names the other. The history says so
    -- too, but events are forgotten after a while, and a second operator must not ask for a job anew whose event is
    -- gone.
    asked_again_as      uuid,
    repeats             uuid,
    primary key (id, tenant_id),
    check (num_nonnulls(prompt, messages) = 1),
    check ((outcome is null) = (ended_at is null)),
    check ((outcome in ('failed', 'rejected')) is not true or reason is not null)
) partition by range (id);
comment on column headrace.jobs.asked_again_as is 'the job that asks for this one anew; set once';
comment on column headrace.jobs.repeats is 'the job that ended without an answer and that this one asks for anew';
create index jobs_by_tenant on headrace.jobs (tenant_id, id desc);
create index jobs_dead_letters on headrace.jobs (tenant_id, id desc) where outcome = 'failed';
create table headrace.jobs_default partition of headrace.jobs default with (fillfactor = 85);
-- An id belongs to one tenant: a job of another tenant with the same id is refused by this index, at no race and
-- without a look at the other tenant's row. The primary key stays (id, tenant_id), by which tenants can be distributed.
create unique index jobs_one_tenant on headrace.jobs (id);

-- What is asked for with a job: those columns of jobs that a request fills, and no outcome. Every way in hands a
-- request on as one row of this view, and what is let in is inserted through it
-- (storage/jobs/functions/enqueue_batch.sql). So a new field is a column of jobs and a column at the end of this view;
-- CONTRIBUTING.md says what else. The first two are not the caller's: as_kept() sets them.
create view headrace.job_request with (security_invoker = true) as
select tenant_id, created_at, id, user_id, feature, prompt, variables, messages, context, output_schema,
       max_output_tokens, lane, idempotency_key, run_at, deadline, on_over_budget, on_unknown, force_tier, metadata,
       estimated_tokens
from headrace.jobs;

-- A request of a bulk by its place, with the hash of its body (null: it has no key) and the reason why it is refused
-- (null: it is fine).
create type headrace.checked_request as (index integer, request headrace.job_request, body_hash bytea, error jsonb);

create table headrace.results (
    job_id              uuid not null,
    tenant_id           uuid not null,
    run_id              uuid not null,
    output              text not null,
    output_json         jsonb,
    finish              text not null check (finish in ('complete', 'length', 'refusal')),
    max_output_tokens   integer not null,                    -- what was granted: less than asked when a cap shrank it
    -- Whether an answer was made up by the simulator: an operator and a caller must be able to tell it from a model's.
    simulated           boolean not null default false,
    created_at          timestamptz not null default headrace.now(),
    primary key (job_id, tenant_id)
);

create table headrace.idempotency (
    tenant_id           uuid not null,
    key                 text not null check (length(key) between 1 and 200),
    job_id              uuid not null,
    body_hash           bytea not null,
    created_at          timestamptz not null default headrace.now(),
    primary key (tenant_id, key)
);
create index idempotency_age on headrace.idempotency (created_at);

-- What happened to a job besides its calls (those are runs): the out-of-the-ordinary only, so the happy path pays
-- nothing.
create table headrace.job_events (
    id                  bigint generated always as identity,
    tenant_id           uuid not null,
    job_id              uuid not null,
    event               text not null,
    detail              jsonb not null default '{}',
    at                  timestamptz not null default headrace.now(),
    primary key (id, tenant_id)
);
create index job_events_by_job on headrace.job_events (job_id, id);
