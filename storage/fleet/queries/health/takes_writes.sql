-- Whether this connection leads to a server that takes writes.
select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off' as yes;
