-- What the wire should hold (storage/fleet/functions/turns_wanted.sql), asked by one sweeper at a time: while another
-- asks, there are no rows. The lock goes with this one statement, so a scheduler that stops (SIGSTOP, a lost network)
-- while it tells the wire keeps nobody from sweeping. Telling it twice is harmless: a refill raises to, never adds.
select tenant_id, lane, turns from headrace.turns_wanted(%s)
where (select headrace.hold_chore('sweep'));
