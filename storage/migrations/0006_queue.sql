-- The queue: one narrow row for each live job (0005_jobs.sql), and the view of a job's state.

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
    -- Poison means deaths. A claim past its time in a worker that lives, a hung thread, is counted apart.
    overdue             integer not null default 0 check (overdue >= 0),
    run_at              timestamptz,
    deadline            timestamptz,
    claim_id            uuid,
    worker_id           uuid,
    claimed_at          timestamptz,
    claim_deadline      timestamptz,
    cancel_requested_at timestamptz,
    created_at          timestamptz not null default headrace.now(),
    -- What must have room before a job runs again, from the moment that a guard turned it away until a call is granted:
    -- 'cap:<scope>:<key>' (the window has to free some), 'room:<scope>:<key>' (others have to settle under that cap),
    -- both with what the job would reserve at least, USD; 'rate:<scope>:<key>'; or 'slot:model:<provider>:<model>':
    -- what waits for a slot. While such a job is *scheduled* it is released by room and not by time; run_at only says
    -- when room is expected.
    waits_for           text check (
        waits_for ~ '^((cap|room|rate):(tenant|user|feature|feature_user)|slot:model):'),
    need_usd            numeric check (need_usd >= 0),
    -- Counted under its request rates. Each request is counted once, however often it has to wait after that.
    admitted            boolean not null default false,
    -- Since when a job has waited for providers that are away, that refuse the platform's key or that limit its rate. A
    -- wait burns no attempt, so this is what bounds it where the job has no deadline (HEADRACE_HELD_MAX_S). Empty again
    -- when the job waits for something else.
    held_since          timestamptz,
    -- What was wrong with a job's last answer that did not match its output schema: the next attempt says so, and asks
    -- for the schema in words.
    output_fault        text,
    primary key (id, tenant_id),
    check ((state = 'running') = (claim_id is not null)),
    check ((claim_id is null) = (worker_id is null) and (claim_id is null) = (claim_deadline is null)),
    check ((state = 'scheduled') = (run_at is not null)),
    check (state = 'scheduled' or rank is not null),
    check (state <> 'scheduled' or reason is not null),
    check (need_usd is null or waits_for is not null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0);
create index queue_next on headrace.queue (tenant_id, lane, rank, id) where state = 'queued';
-- A claim skips what cannot run by an index: of a paused feature, or of one whose concurrency cap is full, it reads
-- nothing (docs/decisions/0026-a-claim-is-bounded.md). One seek finds the first queued job of a feature, and the next
-- feature that has any.
create index queue_by_feature on headrace.queue (tenant_id, lane, feature, rank, id) where state = 'queued';
create index queue_running on headrace.queue (tenant_id, lane, rank) where state = 'running';
create index queue_of_user on headrace.queue (tenant_id, lane, user_id, rank);
create index queue_by_worker on headrace.queue (worker_id) where state = 'running';
create index queue_overdue on headrace.queue (claim_deadline) where state = 'running';
create index queue_due on headrace.queue (run_at) where state = 'scheduled' and waits_for is null;
create index queue_expiring on headrace.queue (deadline) where deadline is not null and state <> 'running';
-- Whose jobs are due, and whose have expired: a seek a tenant. The indexes by time alone stay: they tell in one seek
-- whether anything is.
create index queue_due_of_tenant on headrace.queue (tenant_id, run_at) where state = 'scheduled' and waits_for is null;
create index queue_expiring_of_tenant on headrace.queue (tenant_id, deadline)
    where deadline is not null and state <> 'running';
create index queue_waiting on headrace.queue (tenant_id, waits_for, lane, rank, id) where waits_for is not null;
create index queue_waiting_need on headrace.queue (tenant_id, waits_for, need_usd) where need_usd is not null;
-- Jobs that were let in from a list and have not got their call yet. Without it, a look at them reads all that wait.
create index queue_let_in on headrace.queue (tenant_id, waits_for) include (need_usd)
    where waits_for is not null and state <> 'scheduled';

create view headrace.job_status with (security_invoker = true) as
select j.id, j.tenant_id, j.user_id, j.feature, j.lane,
       coalesce(j.outcome, q.state) as state,
       coalesce(j.reason, q.reason) as reason,
       case when j.outcome is null then q.attempts else j.attempts end as attempts,
       q.run_at, j.deadline, j.created_at, j.ended_at
from headrace.jobs j
left join headrace.queue q on q.id = j.id and q.tenant_id = j.tenant_id;
