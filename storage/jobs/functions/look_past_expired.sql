-- The first queued job of a tenant's lane (and feature, if given) behind one that is past its deadline and that is
-- still within its own, locked; of p_most jobs that are looked at, those past their deadline included. What other
-- claims hold is passed over. Indexes: queue_next, queue_by_feature.
create or replace function headrace.look_past_expired(
    p_tenant uuid, p_lane text, p_feature text, p_behind headrace.queue, p_most integer, v_now timestamptz)
returns setof headrace.queue language plpgsql as $$
begin
    if p_feature is null then
        return query
        select x.* from (
            select n.id, n.rank, n.deadline from headrace.queue n
            where n.tenant_id = p_tenant and n.lane = p_lane and n.state = 'queued'
              and (n.rank, n.id) > (p_behind.rank, p_behind.id)
            order by n.rank, n.id limit p_most) a
        join headrace.queue x on x.id = a.id and x.tenant_id = p_tenant
        where (a.deadline > v_now) is not false and x.state = 'queued'
        order by a.rank, a.id limit 1 for update of x skip locked;
    else
        return query
        select x.* from (
            select n.id, n.rank, n.deadline from headrace.queue n
            where n.tenant_id = p_tenant and n.lane = p_lane and n.feature between p_feature and p_feature
              and n.state = 'queued'
              and (n.rank, n.id) > (p_behind.rank, p_behind.id)
            order by n.feature, n.rank, n.id limit p_most) a
        join headrace.queue x on x.id = a.id and x.tenant_id = p_tenant
        where (a.deadline > v_now) is not false and x.state = 'queued'
        order by a.rank, a.id limit 1 for update of x skip locked;
    end if;
end $$;
