-- Notes to the scheduler.

-- Whoever enqueues in a transaction that is not ours leaves a note here; the scheduler drains it. Insert-only, without
-- a unique key: two open transactions must not wait for each other.
create table headrace.wakes (
    id                  bigint generated always as identity primary key,
    tenant_id           uuid not null,
    lane                text not null,
    -- Since when a note waits for a scheduler: a note that none has looked at must be seen
    -- (headrace_scheduler_behind_seconds).
    created_at          timestamptz not null default headrace.now()
);
-- The notes of one tenant, in their order.
create index wakes_of_tenant on headrace.wakes (tenant_id, id);

-- Whether a note is worth a NOTIFY. One row: schedulers that listen write it, the SQL door reads it, nobody waits for
-- it. NOTIFY takes a lock of the whole server at commit, so none is sent when nobody listens, and none during a flood
-- of notes, when the schedulers look again and again by themselves.
create table headrace.wake_signals (
    one                 boolean primary key default true check (one),
    wanted_until        timestamptz not null default 'epoch',  -- a scheduler listens, at least until then
    paused_until        timestamptz not null default 'epoch'   -- a scheduler looks by itself, at least until then
) with (fillfactor = 50);
insert into headrace.wake_signals default values;
