-- Whether claims look at the features of a tenant's lane one by one: some may have to be skipped. One seek for each
-- paused feature (with `between`: feature_heads.sql says why). Limit and order keep it so: without the limit the
-- planner may join the features to all that the tenant has queued, without the order it may read by another index until
-- it meets one.
create or replace function headrace.has_walls(p_tenant uuid, p_lane text) returns boolean language sql stable
return exists (select from headrace.concurrency c where c.tenant_id = p_tenant and c.scope = 'feature')
    or exists (select from headrace.features f cross join lateral (
        select from headrace.queue x
        where x.tenant_id = p_tenant and x.lane = p_lane and x.feature between f.name and f.name and x.state = 'queued'
        order by x.feature, x.rank, x.id limit 1) x
        where f.paused_at is not null);
