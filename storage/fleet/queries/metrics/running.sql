-- Running jobs by lane. Index: queue_by_worker, which has the running jobs only.
select l.name as lane, count(q.id)::bigint as running
from headrace.lanes l
left join (select x.id, x.lane from headrace.queue x where x.state = 'running' and x.worker_id is not null) q
    on q.lane = l.name
where l.retired_at is null or q.lane is not null
group by l.name order by l.name;
