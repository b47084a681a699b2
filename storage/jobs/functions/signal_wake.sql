-- Tell the schedulers that listen that a note was left for them, once this transaction commits.
--
-- A commit that notifies holds a lock of the whole server until it is durable, so commits that notify come one after
-- the other. So a note is signalled only while a scheduler listens and no flood of notes is under way
-- (storage/fleet/wake_signals.py); the money functions never signal; and Postgres sends one signal a transaction,
-- however many jobs it enqueues, since the payload is always empty. A note without a signal is found by the look that
-- each scheduler takes every 200 ms. Reads one row and locks nothing: a transaction that stays open keeps nobody.
-- Index: primary key.
create or replace function headrace.signal_wake() returns void language plpgsql as $$
begin
    perform pg_notify('headrace_wakes', '') from headrace.wake_signals s
    where s.one and s.wanted_until > headrace.now() and s.paused_until <= headrace.now();
end $$;
