-- How many jobs these tenants have queued in these lanes, counted up to a limit. For a wire that cannot say how many turns
-- a tenant has. Reads so many index entries at most. Index: queue_next.
select w.tenant_id, w.lane, c.queued
from unnest(%s::uuid[], %s::text[]) w(tenant_id, lane)
cross join lateral (
    select count(*)::integer as queued from (
        select from headrace.queue q
        where q.tenant_id = w.tenant_id and q.lane = w.lane and q.state = 'queued'
        limit %s) l) c;
