-- Processes and their chores.

create table headrace.workers (
    id                  uuid primary key,                    -- new at each start of a process
    host                text not null,
    pid                 integer not null,
    threads             integer not null check (threads >= 1),
    started_at          timestamptz not null default headrace.now(),
    heartbeat_at        timestamptz not null default headrace.now(),
    draining_at         timestamptz,
    stopped_at          timestamptz,
    -- The providers that a worker process has a key for, each with what keeps calls from it: an open breaker, a rate
    -- limit. Null: a release that did not say it. Bounded, since every heartbeat writes it.
    providers           jsonb check (octet_length(providers::text) <= 4000)
);
create index workers_alive on headrace.workers (heartbeat_at) where stopped_at is null;

-- Scheduler processes as the database knows them: one row for each start of a process, kept alive by its heartbeats.
create table headrace.schedulers (
    id                  uuid primary key,                    -- new at each start of a process
    host                text not null check (length(host) <= 300),
    pid                 integer not null,
    started_at          timestamptz not null default headrace.now(),
    heartbeat_at        timestamptz not null default headrace.now(),
    stopped_at          timestamptz,
    woken_by            text not null check (length(woken_by) <= 60)  -- signal, or why only its own looks find notes
) with (fillfactor = 70);

-- Chores of the schedulers: how each does, and what each had to set aside.
-- One row for each chore, of all schedulers together.
create table headrace.chores (
    name                text primary key check (length(name) between 1 and 60),
    every_s             double precision not null check (every_s > 0),
    failures            bigint not null default 0 check (failures >= 0),   -- passes that ended with an unexpected error
    failed_at           timestamptz,
    last_error          text check (length(last_error) <= 1000),
    done_at             timestamptz                          -- it got through at about this time (noted every 10 s)
) with (fillfactor = 50);

-- What a chore could not do for what a row carries. The chore passes it by until `until`; `headrace doctor` names it.
create table headrace.set_aside (
    tenant_id           uuid not null,
    chore               text not null,
    job_id              uuid,                                -- null: all that the chore would do for this tenant
    error               text not null check (length(error) <= 1000),
    times               integer not null default 1 check (times >= 1),
    first_at            timestamptz not null default headrace.now(),
    until               timestamptz not null,
    unique nulls not distinct (tenant_id, chore, job_id)
) with (fillfactor = 70);

-- Locks of ours that only roles of ours can take. An advisory lock is open to every login of the database, and pg_locks
-- tells each of them the keys that are held: one `select pg_advisory_lock(…)` of a stranger stood in the way of every
-- `begin`. A table lock and a row lock ask for a privilege (storage/db/functions/hold_chore.sql, decision 30).
-- Locked by its rows: of each chore that runs one at a time. The names are in hold_chore.sql.
create table headrace.chore_locks (
    name                text primary key
);
