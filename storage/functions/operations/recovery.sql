-- Take back one job that its worker does not go on with:
--   died     the worker is silent: no heartbeat for p_silent_s, or no row of it
--   stopped  the worker said that it stops, and the job was not at its end: a drain, which is not the job's doing
--   overdue  the worker lives, and the claim is past its deadline: a hung thread
-- Its open runs become *unknown*, charged at the reserved worst case. Then it runs again, or ends: as *poison* after
-- p_max_deaths deaths, as *overdue* when deaths and overdue claims together are as many, or when the job asked for
-- on_unknown = fail. A drain counts for neither, and burns no attempt.
-- One job a transaction (locks of several tenants' caps are never held together); the caller repeats until no row.
create or replace function headrace.take_back(p_silent_s double precision, p_max_deaths integer)
returns table (tenant_id uuid, lane text, job_id uuid, state text) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := headrace.now();
    q headrace.queue;
    v_why text;
    v_deaths integer;
    v_overdue integer;
    v_unknown boolean;
    v_on_unknown text;
begin
    -- indexes: queue_overdue, queue_by_worker (for each worker that is gone)
    select x.* into q from headrace.queue x
    where x.state = 'running' and x.claim_deadline < v_now
    order by x.claim_deadline limit 1 for update skip locked;
    if not found then
        select x.* into q from headrace.queue x
        where x.state = 'running' and not exists (
            select from headrace.workers w where w.id = x.worker_id and w.stopped_at is null
              and w.heartbeat_at >= v_now - make_interval(secs => p_silent_s))
        limit 1 for update skip locked;
    end if;
    if not found then return; end if;

    v_why := coalesce((select case when w.stopped_at is not null then 'stopped'
                                   when w.heartbeat_at >= v_now - make_interval(secs => p_silent_s) then 'overdue' end
                       from headrace.workers w where w.id = q.worker_id), 'died');
    v_deaths := q.deaths + (v_why = 'died')::integer;
    v_overdue := q.overdue + (v_why = 'overdue')::integer;
    v_unknown := headrace.release(q.tenant_id, q.id, q.claim_id, v_now) > 0;
    v_now := headrace.now();  -- it may have waited for the caps
    tenant_id := q.tenant_id; lane := q.lane; job_id := q.id;
    select j.on_unknown into v_on_unknown from headrace.jobs j where j.id = q.id and j.tenant_id = q.tenant_id;
    if v_unknown and v_on_unknown = 'fail' then
        perform headrace.end_job(q.tenant_id, q, 'failed', 'outcome_unknown', jsonb_build_object('code', 'outcome_unknown',
            'message', case v_why when 'died' then 'its worker fell silent during a call'
                                  when 'stopped' then 'its worker stopped during a call'
                                  else 'its claim ran past its time during a call' end
                       || '; the job asked not to be repeated then'), v_now);
        state := 'failed';
    elsif v_why <> 'stopped' and v_deaths + v_overdue >= p_max_deaths then
        perform headrace.end_job(q.tenant_id, q, 'failed', case when v_overdue = 0 then 'poison' else 'overdue' end,
            jsonb_build_object('code', case when v_overdue = 0 then 'poison' else 'overdue' end,
                'message', concat_ws(' and ',
                    case when v_deaths > 0 then format('%s workers fell silent while they ran this job', v_deaths) end,
                    case when v_overdue > 0 then format('%s claims of this job ran past their time in workers that live', v_overdue) end),
                'deaths', v_deaths, 'overdue', v_overdue), v_now);
        state := 'failed';
    else
        state := headrace.put_back(q.tenant_id, q, null, 'taken_back', v_why <> 'stopped', v_why = 'died', v_now, p_admitted => v_unknown);
        if v_why = 'overdue' and state = 'queued' then
            update headrace.queue x set overdue = v_overdue where x.id = q.id and x.tenant_id = q.tenant_id;
        end if;
    end if;
    if state <> 'queued' then  -- it did not end by that claim, so whoever still holds it is told that it is lost
        update headrace.jobs j set ended_claim = null where j.id = q.id and j.tenant_id = q.tenant_id;
    end if;
    perform headrace.free_slots_with_notes(q.tenant_id, q.claim_id);
    return next;
end $$;

-- Scheduled jobs whose time has come → queued, p_limit at most. Those queued for the first time get their ranks one after
-- the other, as enqueue_batch gives them, so that many of one user do not stand side by side. What waits for room is not
-- released by time (waiting.sql). Index: queue_due.
create or replace function headrace.release_due(p_limit integer)
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := headrace.now();
begin
    return query
    with due as (
        select x.id, x.tenant_id, x.lane, x.user_id, x.rank, x.estimated_tokens, x.run_at from headrace.queue x
        where x.state = 'scheduled' and x.run_at <= v_now and x.waits_for is null
        order by x.run_at limit p_limit for update skip locked
    ),
    lined_up as (
        select d.*, first_value(d.estimated_tokens) over before as first_one,
               sum(d.estimated_tokens) over before - first_value(d.estimated_tokens) over before as behind
        from due d window before as (partition by d.tenant_id, d.lane, d.user_id, d.rank is null order by d.run_at, d.id)
    ),
    moved as (
        update headrace.queue x set state = 'queued', run_at = null, reason = null,
            rank = case when l.rank is null then headrace.queue_rank(l.tenant_id, l.lane, l.user_id, l.first_one) + l.behind
                        else greatest(l.rank, headrace.virtual_time(l.tenant_id, l.lane)) end
        from lined_up l where x.id = l.id and x.tenant_id = l.tenant_id
        returning x.tenant_id, x.lane
    )
    select m.tenant_id, m.lane, count(*)::integer from moved m group by m.tenant_id, m.lane;
end $$;

-- Waiting jobs past their deadline → expired, p_limit at most. Index: queue_expiring. Waiting jobs hold no caps, so
-- no cap is locked here. Returns how many.
create or replace function headrace.expire(p_limit integer) returns integer language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_now timestamptz := headrace.now();
    q headrace.queue;
    v_count integer := 0;
begin
    for q in select * from headrace.queue x where x.state <> 'running' and x.deadline <= v_now
             order by x.deadline limit p_limit for update skip locked loop
        perform headrace.end_job(q.tenant_id, q, 'expired', 'deadline_passed', null, v_now);
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;

-- Notes left by transactions that were not ours to see commit, taken and summed. p_limit at most.
create or replace function headrace.drain_wakes(p_limit integer)
returns table (tenant_id uuid, lane text, jobs integer) language sql as $$
    with taken as (
        delete from headrace.wakes w using (
            select id from headrace.wakes order by id limit p_limit for update skip locked) t
        where w.id = t.id returning w.tenant_id, w.lane)
    select t.tenant_id, t.lane, count(*)::integer from taken t group by t.tenant_id, t.lane;
$$;

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

-- The sweep's question: how many turns should each tenant have on each lane: min(queued, W, free slots of its lane's cap),
-- nothing for what is paused.
create or replace function headrace.turns_wanted(p_w integer)
returns table (tenant_id uuid, lane text, turns integer) language sql stable as $$
    select p.tenant_id, p.lane, c.turns
    from headrace.queued_lanes() p
    join headrace.tenants t on t.id = p.tenant_id and t.paused_at is null
    join headrace.lanes l on l.name = p.lane and l.paused_at is null
    cross join lateral (
        select count(*)::integer as turns from (
            select from headrace.queue q
            where q.tenant_id = p.tenant_id and q.lane = p.lane and q.state = 'queued'
              and not exists (select from headrace.features f where f.name = q.feature and f.paused_at is not null)
            order by q.rank, q.id  -- by queue_next, never past what is scheduled in queue_of_user
            limit least(p_w, (select case when c.slots is not null then (
                select count(*) from headrace.slots s
                where s.cap_key = headrace.slot_key(p.tenant_id, 'lane', p.lane) and s.claim_id is null) end
                from headrace.concurrency c where c.tenant_id = p.tenant_id and c.scope = 'lane' and c.key = p.lane))) w) c
    where c.turns > 0;
$$;
