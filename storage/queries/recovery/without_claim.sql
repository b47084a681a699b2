-- Tenants and lanes with queued work of which nothing runs now. Indexes: queue_next, queue_running.
select distinct q.tenant_id, q.lane from headrace.queue q
where q.state = 'queued' and not exists (
    select from headrace.queue r where r.tenant_id = q.tenant_id and r.lane = q.lane and r.state = 'running');
