-- How many jobs these tenants have queued and running in these lanes, each counted up to a limit. For a wire that
-- cannot say how many turns a tenant has. Reads so many index entries at most. Indexes: queue_next, queue_running.
select w.tenant_id, w.lane, c.queued, r.running
from unnest(%(tenants)s::uuid[], %(lanes)s::text[]) w(tenant_id, lane)
cross join lateral (
    select count(*)::integer as queued from (
        select from headrace.queue q
        where q.tenant_id = w.tenant_id and q.lane = w.lane and q.state = 'queued'
        limit %(queued)s) l) c
cross join lateral (
    select count(*)::integer as running from (
        select from headrace.queue q
        where q.tenant_id = w.tenant_id and q.lane = w.lane and q.state = 'running'
        limit %(running)s) l) r;
