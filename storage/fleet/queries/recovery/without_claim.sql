-- Tenants and lanes with queued work of which nothing runs now. Indexes: queue_next, queue_running.
select q.tenant_id, q.lane from headrace.queued_lanes() q
where not exists (
    select from headrace.queue r where r.tenant_id = q.tenant_id and r.lane = q.lane and r.state = 'running');
