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

-- The providers that a worker process has a key for, each with what keeps calls from it: an open breaker, a rate limit.
-- Null: a release that did not say it. Bounded, since every heartbeat writes it.
alter table headrace.workers add column providers jsonb check (octet_length(providers::text) <= 4000);
