-- Whether this transaction is the one that flags unusual spend now. It comes before the look at what was flagged: who
-- gets the lock sees all that the one before committed.
select pg_try_advisory_xact_lock(hashtextextended('headrace.flag_unusual', 0)) as mine;
