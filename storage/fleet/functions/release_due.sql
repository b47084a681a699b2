-- Scheduled jobs whose time has come → queued, p_limit at most: the oldest first, or (p_tenants) an equal share of
-- each. What waits for room is not released by time (release_by_turns.sql). Indexes: queue_due, queue_due_of_tenant.
create or replace function headrace.release_due(p_limit integer, p_tenants uuid[] default null)
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := headrace.now();
    v_aside constant boolean := exists (select from headrace.set_aside s where s.chore = 'due');  -- hardly ever
    v_tenants uuid[];
    v_jobs uuid[];
begin
    if p_tenants is null then
        select array_agg(d.tenant_id), array_agg(d.id) into v_tenants, v_jobs from (
            select x.tenant_id, x.id from headrace.queue x
            where x.state = 'scheduled' and x.run_at <= v_now and x.waits_for is null
              and not (v_aside and headrace.is_aside('due', x.tenant_id, x.id, v_now))
            order by x.run_at limit p_limit for update skip locked) d;
    else
        select array_agg(d.tenant_id), array_agg(d.id) into v_tenants, v_jobs
        from unnest(p_tenants) t(id) cross join lateral (
            select x.tenant_id, x.id from headrace.queue x
            where x.tenant_id = t.id and x.state = 'scheduled' and x.run_at <= v_now and x.waits_for is null
              and not (v_aside and headrace.is_aside('due', x.tenant_id, x.id, v_now))
            order by x.run_at limit greatest(1, p_limit / cardinality(p_tenants)) for update skip locked) d;
    end if;
    if v_jobs is null then return; end if;
    begin
        return query select * from headrace.queue_due(v_tenants, v_jobs);
        return;
    exception when others then
        if not headrace.is_of_the_row(sqlstate) then raise; end if;
    end;
    for i in 1 .. cardinality(v_jobs) loop  -- one of them cannot be queued: each by itself
        begin
            return query select * from headrace.queue_due(v_tenants[i:i], v_jobs[i:i]);
        exception when others then
            if not headrace.is_of_the_row(sqlstate) then raise; end if;
            perform headrace.put_aside('due', v_tenants[i], v_jobs[i], sqlerrm, sqlstate);
        end;
    end loop;
end $$;

-- These jobs → queued. Those queued for the first time get their ranks one after the other, as enqueue_batch gives
-- them, so that many of one user do not stand side by side. The caller has locked them. Index: primary key.
create or replace function headrace.queue_due(p_tenants uuid[], p_jobs uuid[])
returns table (tenant_id uuid, lane text, jobs integer) language sql as $$
    with due as (
        select x.id, x.tenant_id, x.lane, x.user_id, x.rank, x.estimated_tokens, x.run_at
        from unnest(p_tenants, p_jobs) as d(tenant_id, id)
        join headrace.queue x on x.id = d.id and x.tenant_id = d.tenant_id
    ),
    lined_up as (
        select d.*, first_value(d.estimated_tokens) over before as first_one,
               sum(d.estimated_tokens) over before - first_value(d.estimated_tokens) over before as behind
        from due d window before as (partition by d.tenant_id, d.lane, d.user_id, d.rank is null
            order by d.run_at, d.id)
    ),
    times as materialized (
        select p.tenant_id, p.lane, headrace.virtual_time(p.tenant_id, p.lane) as virtual_time
        from (select distinct d.tenant_id, d.lane from due d) p
    ),
    moved as (
        update headrace.queue x set state = 'queued', run_at = null, reason = null,
            rank = case when l.rank is null then headrace.queue_rank(l.tenant_id, l.lane, l.user_id,
                l.first_one) + l.behind
                        else greatest(l.rank, v.virtual_time) end
        from lined_up l join times v on v.tenant_id = l.tenant_id and v.lane = l.lane
        where x.id = l.id and x.tenant_id = l.tenant_id
        returning x.tenant_id, x.lane
    )
    select m.tenant_id, m.lane, count(*)::integer from moved m group by m.tenant_id, m.lane;
$$;
