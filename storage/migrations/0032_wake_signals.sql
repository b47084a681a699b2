-- Since when a note waits for a scheduler: a note that none has looked at must be seen (headrace_scheduler_behind_seconds).
alter table headrace.wakes add column created_at timestamptz not null default headrace.now();

-- Whether a note is worth a NOTIFY. One row: schedulers that listen write it, the SQL door reads it, nobody waits for it.
-- NOTIFY takes a lock of the whole server at commit, so none is sent when nobody listens, and none during a flood of notes,
-- when the schedulers look again and again by themselves.
create table headrace.wake_signals (
    one                 boolean primary key default true check (one),
    wanted_until        timestamptz not null default 'epoch',  -- a scheduler listens, at least until then
    paused_until        timestamptz not null default 'epoch'   -- a scheduler looks by itself, at least until then
) with (fillfactor = 50);
insert into headrace.wake_signals default values;
