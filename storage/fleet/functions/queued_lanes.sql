-- Who has queued work on which lane. A loose index scan of queue_next: one seek for each, not a scan of the backlog.
create or replace function headrace.queued_lanes() returns table (tenant_id uuid, lane text) language sql stable as $$
    with recursive pairs as (
        (select q.tenant_id, q.lane from headrace.queue q where q.state = 'queued' order by q.tenant_id, q.lane limit 1)
        union all
        select n.tenant_id, n.lane from pairs p cross join lateral (
            select q.tenant_id, q.lane from headrace.queue q
            where q.state = 'queued' and (q.tenant_id, q.lane) > (p.tenant_id, p.lane)
            order by q.tenant_id, q.lane limit 1) n
    )
    select p.tenant_id, p.lane from pairs p;
$$;
