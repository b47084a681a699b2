-- Whether the queue's indexes hold more entries of jobs that have ended or moved on than the queue can bear: a scan
-- walks past them until they are cleared. Rows as the server counts them, a second late at most.
select coalesce(bool_or(s.n_dead_tup > %(least)s + s.n_live_tup / 4), false) as outweigh
from pg_stat_all_tables s where s.schemaname = 'headrace' and s.relname = 'queue';
