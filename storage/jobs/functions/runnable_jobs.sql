-- How many jobs of a tenant's lane could be claimed now as far as their features are concerned, counted up to p_most:
-- of each feature no more than it has free slots. And the first of them.
create or replace function headrace.runnable_jobs(
    p_tenant uuid, p_lane text, p_most integer, out jobs integer, out next_id uuid)
language plpgsql stable as $$
begin
    if not headrace.has_walls(p_tenant, p_lane) then
        select count(*), (array_agg(w.id))[1] into jobs, next_id from (
            select q.id from headrace.queue q
            where q.tenant_id = p_tenant and q.lane = p_lane and q.state = 'queued'
            order by q.rank, q.id limit p_most) w;  -- by queue_next, never past what is scheduled in queue_of_user
        return;
    end if;
    select least(coalesce(sum(c.jobs), 0), p_most), (array_agg(h.id order by h.rank, h.id))[1] into jobs, next_id
    from headrace.feature_heads(p_tenant, p_lane) h
    cross join lateral (
        select count(*) as jobs from (
            select from headrace.queue q
            where q.tenant_id = p_tenant and q.lane = p_lane and q.feature between h.feature and h.feature
              and q.state = 'queued'
            order by q.feature, q.rank, q.id
            limit least(p_most, case when h.cap_key is not null then (
                select count(*) from headrace.slots s where s.cap_key = h.cap_key and s.claim_id is null) end)) w) c
    where h.has_room;
end $$;
