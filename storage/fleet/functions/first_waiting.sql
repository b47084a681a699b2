-- The first of a list: lanes take turns by their weights, and within a lane the lowest rank comes first. Locked;
-- whoever else is at them is skipped.
create or replace function headrace.first_waiting(
    p_tenant uuid, p_waits_for text, p_limit integer, p_fits numeric default null)
returns setof headrace.queue language sql as $$
    select q.* from headrace.lanes l cross join lateral (
        select x.* from headrace.queue x
        where x.tenant_id = p_tenant and x.waits_for = p_waits_for and x.lane = l.name and x.state = 'scheduled'
          and (p_fits is null or x.need_usd <= p_fits)
          and not exists (select from headrace.features f where f.name = x.feature and f.paused_at is not null)
        order by x.rank, x.id limit p_limit for update skip locked) q
    where l.paused_at is null
    order by row_number() over (partition by q.lane order by q.rank, q.id) / l.weight::numeric, q.lane
    limit p_limit;
$$;
