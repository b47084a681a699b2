-- The sweep's question: how many turns should each tenant have on each lane: min(queued, W, free slots of its lane's
-- cap), nothing for what is paused, and of a feature no more than it has free slots. Reads W entries of each lane at
-- most; what cannot run is not read (runnable_jobs.sql).
create or replace function headrace.turns_wanted(p_w integer)
returns table (tenant_id uuid, lane text, turns integer) language sql stable as $$
    select p.tenant_id, p.lane, c.turns
    from headrace.queued_lanes() p
    join headrace.tenants t on t.id = p.tenant_id and t.paused_at is null
    join headrace.lanes l on l.name = p.lane and l.paused_at is null
    cross join lateral (
        select least(p_w, (
            select (select count(*) from headrace.slots s
                    where s.cap_key = headrace.slot_key(p.tenant_id, 'lane', p.lane) and s.claim_id is null)
            from headrace.concurrency c
            where c.tenant_id = p.tenant_id and c.scope = 'lane' and c.key = p.lane))::integer as most) m
    cross join lateral (
        select case  -- has_walls, spelled out for the sake of ten thousand tenants
            when exists (select from headrace.concurrency c where c.tenant_id = p.tenant_id and c.scope = 'feature')
                or exists (select from headrace.features f cross join lateral (
                    select from headrace.queue x
                    where x.tenant_id = p.tenant_id and x.lane = p.lane and x.feature between f.name and f.name
                      and x.state = 'queued' order by x.feature, x.rank, x.id limit 1) x
                    where f.paused_at is not null)
            then (select r.jobs from headrace.runnable_jobs(p.tenant_id, p.lane, m.most) r)
            else (select count(*) from (
                select from headrace.queue q
                where q.tenant_id = p.tenant_id and q.lane = p.lane and q.state = 'queued'
                -- by queue_next, never past what is scheduled
                order by q.rank, q.id limit m.most) w)::integer end as turns) c
    where c.turns > 0;
$$;
