-- Clear them. It stops no other statement, waits for no lock and leaves the file as long as it is.
vacuum (skip_locked, index_cleanup on, truncate off) headrace.queue;
