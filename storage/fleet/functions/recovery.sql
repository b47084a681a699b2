-- What time and accidents ask for. A chore looks at the oldest first; where it has more than one pass can do, tenants take
-- turns at it: it is told whose turn it is, and each gets the same share of the pass. What it cannot do for what a row
-- carries is set aside, so that the other rows do not wait behind it. `headrace doctor` names it.

-- Whether an error lies in what a row carries (data, constraints, our own refusals, a broken row), and not in the server, a
-- lock or a release that is half done.
create or replace function headrace.is_of_the_row(p_sqlstate text) returns boolean language sql immutable
return left(p_sqlstate, 2) in ('21', '22', '23', '38', '39', '54', 'HR', 'P0', 'XX');

-- Set a job aside, or (p_job null) all that a chore would do for a tenant: for a minute the first time, then twice as long
-- each time, an hour at most. Where only a lock was in the way: 5 s.
create or replace function headrace.put_aside(p_chore text, p_tenant uuid, p_job uuid, p_error text, p_sqlstate text)
returns void language sql as $$
    insert into headrace.set_aside as s (tenant_id, chore, job_id, error, until)
    values (p_tenant, p_chore, p_job, left(p_error, 500), headrace.now() + case p_sqlstate when '55P03' then interval '5 seconds' else interval '1 minute' end)
    on conflict (tenant_id, chore, job_id) do update set times = s.times + 1, error = excluded.error,
        until = greatest(excluded.until, case when p_sqlstate <> '55P03' then headrace.now() + interval '1 minute' * least(60, 2 ^ least(s.times, 6)) end);
$$;

-- Whether a chore passes a job by. Hardly ever are there any: one look at an index that is empty.
create or replace function headrace.is_aside(p_chore text, p_tenant uuid, p_job uuid, v_now timestamptz) returns boolean language sql stable
return exists (select from headrace.set_aside s
               where s.tenant_id = p_tenant and s.chore = p_chore and s.job_id is not distinct from p_job and s.until > v_now);

-- Take back one job that its worker does not go on with:
--   died     the worker is silent: no heartbeat for p_silent_s, or no row of it
--   stopped  the worker said that it stops, and the job was not at its end: a drain, which is not the job's doing
--   overdue  the worker lives, and the claim is past its deadline: a hung thread
-- Its open runs become *unknown*, charged at the reserved worst case. Then it runs again, or ends: as *poison* after
-- p_max_deaths deaths, as *overdue* when deaths and overdue claims together are as many, or when the job asked for
-- on_unknown = fail. A drain counts for neither, and burns no attempt.
-- One job a transaction (locks of several tenants' caps are never held together); the caller repeats until no row.
-- A job that cannot be taken back, for what it carries or because somebody holds its caps, is set aside (state *set_aside*).
-- reason: why a job has failed by that.
create or replace function headrace.take_back(p_silent_s double precision, p_max_deaths integer)
returns table (tenant_id uuid, lane text, job_id uuid, state text, reason text) language plpgsql
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
      and not headrace.is_aside('take_back', x.tenant_id, x.id, v_now)
    order by x.claim_deadline limit 1 for update skip locked;
    if not found then
        select x.* into q from headrace.queue x
        where x.state = 'running' and not exists (
            select from headrace.workers w where w.id = x.worker_id and w.stopped_at is null
              and w.heartbeat_at >= v_now - make_interval(secs => p_silent_s))
          and not headrace.is_aside('take_back', x.tenant_id, x.id, v_now)
        limit 1 for update skip locked;
    end if;
    if not found then return; end if;

    v_why := coalesce((select case when w.stopped_at is not null then 'stopped'
                                   when w.heartbeat_at >= v_now - make_interval(secs => p_silent_s) then 'overdue' end
                       from headrace.workers w where w.id = q.worker_id), 'died');
    v_deaths := q.deaths + (v_why = 'died')::integer;
    v_overdue := q.overdue + (v_why = 'overdue')::integer;
    tenant_id := q.tenant_id; lane := q.lane; job_id := q.id;
    begin
        v_unknown := headrace.release(q.tenant_id, q.id, q.claim_id, v_now) > 0;
        v_now := headrace.now();  -- it may have waited for the caps
        select j.on_unknown into v_on_unknown from headrace.jobs j where j.id = q.id and j.tenant_id = q.tenant_id;
        if v_unknown and v_on_unknown = 'fail' then
            perform headrace.end_job(q.tenant_id, q, 'failed', 'outcome_unknown', jsonb_build_object('code', 'outcome_unknown',
                'message', case v_why when 'died' then 'its worker fell silent during a call'
                                      when 'stopped' then 'its worker stopped during a call'
                                      else 'its claim ran past its time during a call' end
                           || '; the job asked not to be repeated then'), v_now);
            state := 'failed';
            reason := 'outcome_unknown';
        elsif v_why <> 'stopped' and v_deaths + v_overdue >= p_max_deaths then
            reason := case when v_overdue = 0 then 'poison' else 'overdue' end;
            perform headrace.end_job(q.tenant_id, q, 'failed', reason,
                jsonb_build_object('code', reason,
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
    exception when others then
        if not headrace.is_of_the_row(sqlstate) and sqlstate <> '55P03' then raise; end if;
        perform headrace.put_aside('take_back', q.tenant_id, q.id, sqlerrm, sqlstate);
        state := 'set_aside';
    end;
    return next;
end $$;

-- Whose scheduled jobs are due: of the tenants after p_after (by id) that have scheduled jobs, p_look are looked at, or so
-- many that p_limit of them have some. looked_to: the last of them; null when there are no more. One seek each.
-- Index: queue_due_of_tenant.
create or replace function headrace.due_tenants(p_after uuid, p_look integer, p_limit integer, out tenants uuid[], out looked_to uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    v_now constant timestamptz := headrace.now();
    v_at timestamptz;
begin
    tenants := '{}';
    looked_to := p_after;
    for i in 1 .. p_look loop
        select q.tenant_id, q.run_at into looked_to, v_at from headrace.queue q
        where q.state = 'scheduled' and q.waits_for is null and q.tenant_id > looked_to
        order by q.tenant_id, q.run_at limit 1;
        exit when looked_to is null;
        if v_at <= v_now then tenants := tenants || looked_to; end if;
        exit when cardinality(tenants) >= p_limit;
    end loop;
end $$;

-- Scheduled jobs whose time has come → queued, p_limit at most: the oldest first, or (p_tenants) an equal share of each. What
-- waits for room is not released by time (waiting.sql). Indexes: queue_due, queue_due_of_tenant.
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

-- These jobs → queued. Those queued for the first time get their ranks one after the other, as enqueue_batch gives them, so
-- that many of one user do not stand side by side. The caller has locked them. Index: primary key.
create or replace function headrace.queue_due(p_tenants uuid[], p_jobs uuid[])
returns table (tenant_id uuid, lane text, jobs integer) language sql as $$
    with due as (
        select x.id, x.tenant_id, x.lane, x.user_id, x.rank, x.estimated_tokens, x.run_at
        from unnest(p_tenants, p_jobs) as d(tenant_id, id) join headrace.queue x on x.id = d.id and x.tenant_id = d.tenant_id
    ),
    lined_up as (
        select d.*, first_value(d.estimated_tokens) over before as first_one,
               sum(d.estimated_tokens) over before - first_value(d.estimated_tokens) over before as behind
        from due d window before as (partition by d.tenant_id, d.lane, d.user_id, d.rank is null order by d.run_at, d.id)
    ),
    times as materialized (
        select p.tenant_id, p.lane, headrace.virtual_time(p.tenant_id, p.lane) as virtual_time
        from (select distinct d.tenant_id, d.lane from due d) p
    ),
    moved as (
        update headrace.queue x set state = 'queued', run_at = null, reason = null,
            rank = case when l.rank is null then headrace.queue_rank(l.tenant_id, l.lane, l.user_id, l.first_one) + l.behind
                        else greatest(l.rank, v.virtual_time) end
        from lined_up l join times v on v.tenant_id = l.tenant_id and v.lane = l.lane
        where x.id = l.id and x.tenant_id = l.tenant_id
        returning x.tenant_id, x.lane
    )
    select m.tenant_id, m.lane, count(*)::integer from moved m group by m.tenant_id, m.lane;
$$;

-- Whose waiting jobs have passed their deadline. As due_tenants. Index: queue_expiring_of_tenant.
create or replace function headrace.expiring_tenants(p_after uuid, p_look integer, p_limit integer, out tenants uuid[], out looked_to uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    v_now constant timestamptz := headrace.now();
    v_at timestamptz;
begin
    tenants := '{}';
    looked_to := p_after;
    for i in 1 .. p_look loop
        select q.tenant_id, q.deadline into looked_to, v_at from headrace.queue q
        where q.state <> 'running' and q.deadline is not null and q.tenant_id > looked_to
        order by q.tenant_id, q.deadline limit 1;
        exit when looked_to is null;
        if v_at <= v_now then tenants := tenants || looked_to; end if;
        exit when cardinality(tenants) >= p_limit;
    end loop;
end $$;

-- Waiting jobs past their deadline → expired, p_limit at most: the earliest deadline first, or (p_tenants) an equal share of
-- each. Waiting jobs hold no caps, so no cap is locked here. Returns how many. Indexes: queue_expiring,
-- queue_expiring_of_tenant.
create or replace function headrace.expire(p_limit integer, p_tenants uuid[] default null) returns integer language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_now constant timestamptz := headrace.now();
    v_aside constant boolean := exists (select from headrace.set_aside s where s.chore = 'expire');  -- hardly ever
    v_late headrace.queue[];
    v_one headrace.queue;
    v_count integer := 0;
begin
    if p_tenants is null then
        select array_agg(d.x) into v_late from (
            select x from headrace.queue x
            where x.state <> 'running' and x.deadline <= v_now and not (v_aside and headrace.is_aside('expire', x.tenant_id, x.id, v_now))
            order by x.deadline limit p_limit for update skip locked) d;
    else
        select array_agg(d.x) into v_late from unnest(p_tenants) t(id) cross join lateral (
            select x from headrace.queue x
            where x.tenant_id = t.id and x.state <> 'running' and x.deadline <= v_now
              and not (v_aside and headrace.is_aside('expire', x.tenant_id, x.id, v_now))
            order by x.deadline limit greatest(1, p_limit / cardinality(p_tenants)) for update skip locked) d;
    end if;
    if v_late is null then return 0; end if;
    begin
        foreach v_one in array v_late loop
            perform headrace.end_job(v_one.tenant_id, v_one, 'expired', 'deadline_passed', null, v_now);
        end loop;
        return cardinality(v_late);
    exception when others then
        if not headrace.is_of_the_row(sqlstate) then raise; end if;
    end;
    foreach v_one in array v_late loop  -- one of them cannot be ended: each by itself
        begin
            perform headrace.end_job(v_one.tenant_id, v_one, 'expired', 'deadline_passed', null, v_now);
            v_count := v_count + 1;
        exception when others then
            if not headrace.is_of_the_row(sqlstate) then raise; end if;
            perform headrace.put_aside('expire', v_one.tenant_id, v_one.id, sqlerrm, sqlstate);
        end;
    end loop;
    return v_count;
end $$;

-- Who has left notes. As due_tenants; all that are looked at have some. Index: wakes_of_tenant.
create or replace function headrace.waking_tenants(p_after uuid, p_limit integer, out tenants uuid[], out looked_to uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    tenants := '{}';
    looked_to := p_after;
    for i in 1 .. p_limit loop
        select w.tenant_id into looked_to from headrace.wakes w where w.tenant_id > looked_to order by w.tenant_id, w.id limit 1;
        exit when looked_to is null;
        tenants := tenants || looked_to;
    end loop;
end $$;

-- Notes left by transactions that were not ours to see commit, taken and summed. p_limit at most: the oldest, or (p_tenants)
-- an equal share of each. No job starts before its note is taken, so nobody waits for a flush here: a note that comes back
-- after a crash of Postgres is a turn too many, which is an empty claim. Indexes: the primary key, wakes_of_tenant.
create or replace function headrace.drain_wakes(p_limit integer, p_tenants uuid[] default null)
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_notes bigint[];
begin
    perform set_config('synchronous_commit', 'off', true);
    if p_tenants is null then
        v_notes := array(select w.id from headrace.wakes w order by w.id limit p_limit for update skip locked);
    else
        v_notes := array(select n.id from unnest(p_tenants) t(id) cross join lateral (
            select w.id from headrace.wakes w where w.tenant_id = t.id
            order by w.id limit greatest(1, p_limit / cardinality(p_tenants)) for update skip locked) n);
    end if;
    return query
    with taken as (
        delete from headrace.wakes w where w.id = any (v_notes) returning w.tenant_id, w.lane)
    select t.tenant_id, t.lane, count(*)::integer from taken t group by t.tenant_id, t.lane;
end $$;

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
-- nothing for what is paused, and of a feature no more than it has free slots. Reads W entries of each lane at most; what
-- cannot run is not read (feature_heads.sql).
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
                    where x.tenant_id = p.tenant_id and x.lane = p.lane and x.feature between f.name and f.name and x.state = 'queued' order by x.feature, x.rank, x.id limit 1) x
                    where f.paused_at is not null)
            then (select r.jobs from headrace.runnable_jobs(p.tenant_id, p.lane, m.most) r)
            else (select count(*) from (
                select from headrace.queue q
                where q.tenant_id = p.tenant_id and q.lane = p.lane and q.state = 'queued'
                order by q.rank, q.id limit m.most) w)::integer end as turns) c  -- by queue_next, never past what is scheduled
    where c.turns > 0;
$$;
