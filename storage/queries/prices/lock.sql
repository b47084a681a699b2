-- One at a time brings prices up to date, so that two who find the same change add one row. Until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('headrace.prices', 0));
