-- Schedulers that have not said that they stop, the one heard of last first, no more than `most`. Few rows: they go
-- after days.
select s.host, s.pid, s.started_at, s.woken_by,
       extract(epoch from headrace.now() - s.heartbeat_at)::float8 as silent_s
from headrace.schedulers s
where s.stopped_at is null
order by s.heartbeat_at desc limit %(most)s;
