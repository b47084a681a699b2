-- One sweeper at a time; the lock goes with the transaction.
select pg_try_advisory_xact_lock(hashtextextended('headrace.sweep', 0)) as lead;
