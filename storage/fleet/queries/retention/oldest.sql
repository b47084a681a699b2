-- The oldest row of each table that has a rule, in days; null: it has none. Indexes: as in the statements that delete.
select (select extract(epoch from headrace.now() - min(i.created_at)) / 86400 from headrace.idempotency i)::float8
    as idempotency,
       (select extract(epoch from headrace.now() - e.at) / 86400 from headrace.job_events e order by e.id
           limit 1)::float8 as job_events,
       (select extract(epoch from headrace.now() - min(o.created_at)) / 86400 from headrace.outbox o
        where o.sent_at is not null or o.topic <> 'stripe.meter_event')::float8 as outbox,
       (select extract(epoch from headrace.now() - min(b.hour)) / 86400 from headrace.spend_buckets b)::float8
           as spend_buckets,
       (select extract(epoch from headrace.now() - min(w.heartbeat_at)) / 86400 from headrace.workers w
        where not exists (select from headrace.queue q where q.worker_id = w.id and q.state = 'running'))::float8
            as workers,
       (select extract(epoch from headrace.now() - min(s.heartbeat_at)) / 86400 from headrace.schedulers s)::float8
           as schedulers;
