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
    primary key (id, tenant_id),
    check (num_nonnulls(prompt, messages) = 1),
    check ((outcome is null) = (ended_at is null)),
    check ((outcome in ('failed', 'rejected')) is not true or reason is not null)
) partition by range (id);
create index jobs_by_tenant on headrace.jobs (tenant_id, id desc);
create index jobs_dead_letters on headrace.jobs (tenant_id, id desc) where outcome = 'failed';
create table headrace.jobs_default partition of headrace.jobs default with (fillfactor = 85);
alter table headrace.jobs_default enable row level security, force row level security;

create table headrace.queue (
    id                  uuid not null,
    tenant_id           uuid not null,
    lane                text not null,
    user_id             text not null,
    feature             text not null,
    state               text not null check (state in ('scheduled', 'queued', 'running')),
    reason              text,                               -- why it is scheduled
    rank                bigint check (rank >= 0),           -- start tag: fair over the tenant's users
    estimated_tokens    bigint not null check (estimated_tokens >= 1),
    attempts            integer not null default 0 check (attempts >= 0),
    deaths              integer not null default 0 check (deaths >= 0),
    run_at              timestamptz,
    deadline            timestamptz,
    claim_id            uuid,
    worker_id           uuid,
    claimed_at          timestamptz,
    claim_deadline      timestamptz,
    cancel_requested_at timestamptz,
    created_at          timestamptz not null default headrace.now(),
    primary key (id, tenant_id),
    check ((state = 'running') = (claim_id is not null)),
    check ((claim_id is null) = (worker_id is null) and (claim_id is null) = (claim_deadline is null)),
    check ((state = 'scheduled') = (run_at is not null)),
    check (state = 'scheduled' or rank is not null),
    check (state <> 'scheduled' or reason is not null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0);
create index queue_next on headrace.queue (tenant_id, lane, rank, id) where state = 'queued';
create index queue_running on headrace.queue (tenant_id, lane, rank) where state = 'running';
create index queue_of_user on headrace.queue (tenant_id, lane, user_id, rank);
create index queue_due on headrace.queue (run_at) where state = 'scheduled';
create index queue_by_worker on headrace.queue (worker_id) where state = 'running';
create index queue_overdue on headrace.queue (claim_deadline) where state = 'running';
create index queue_expiring on headrace.queue (deadline) where deadline is not null and state <> 'running';

create table headrace.results (
    job_id              uuid not null,
    tenant_id           uuid not null,
    run_id              uuid not null,
    output              text not null,
    output_json         jsonb,
    finish              text not null check (finish in ('complete', 'length', 'refusal')),
    max_output_tokens   integer not null,                    -- what was granted: less than asked when a cap shrank it
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

-- What happened to a job besides its calls (those are runs): the out-of-the-ordinary only, so the happy path pays nothing.
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

-- Whoever enqueues in a transaction that is not ours leaves a note here; the scheduler drains it. Insert-only, without
-- a unique key: two open transactions must not wait for each other.
create table headrace.wakes (
    id                  bigint generated always as identity primary key,
    tenant_id           uuid not null,
    lane                text not null
);

do $$
declare t text;
begin
    foreach t in array array['jobs', 'queue', 'results', 'idempotency', 'job_events', 'wakes'] loop
        execute format('alter table headrace.%I enable row level security, force row level security', t);
        execute format($p$create policy tenant_bound on headrace.%I to headrace_app, headrace_owner
            using (tenant_id = (select headrace.current_tenant()))
            with check (tenant_id = (select headrace.current_tenant()))$p$, t);
        execute format('create policy operators on headrace.%I to headrace_ops using (true) with check (true)', t);
    end loop;
end $$;

create view headrace.job_status with (security_invoker = true) as
select j.id, j.tenant_id, j.user_id, j.feature, j.lane,
       coalesce(j.outcome, q.state) as state,
       coalesce(j.reason, q.reason) as reason,
       case when j.outcome is null then q.attempts else j.attempts end as attempts,
       q.run_at, j.deadline, j.created_at, j.ended_at
from headrace.jobs j
left join headrace.queue q on q.id = j.id and q.tenant_id = j.tenant_id;
