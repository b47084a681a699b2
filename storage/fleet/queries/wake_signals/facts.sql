-- What could speak against signals on this connection: who serves it, whether transactions may be prepared (one that
-- has notified may not), and how full the server's queue of signals is (0 to 1; when it is full, commits that notify
-- fail).
select pg_backend_pid() as pid, current_setting('max_prepared_transactions')::integer as prepared,
       pg_notification_queue_usage() as queue_used;
