-- Jobs that wait for room (queue.waits_for): released by room, in fair order, never all at once.

-- Who has jobs in lists: of the tenants after p_after (by id), p_limit. looked_to: the last of them; null when there are no
-- more. One seek each. Index: queue_waiting.
create or replace function headrace.waiting_tenants(p_after uuid, p_limit integer, out tenants uuid[], out looked_to uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    tenants := '{}';
    looked_to := p_after;
    for i in 1 .. p_limit loop
        select q.tenant_id into looked_to from headrace.queue q
        where q.waits_for is not null and q.tenant_id > looked_to order by q.tenant_id, q.waits_for limit 1;
        exit when looked_to is null;
        tenants := tenants || looked_to;
    end loop;
end $$;

-- The lists that jobs of a tenant wait in, of the kinds asked for: those before p_before (null: all), the last name first, and
-- so lists of room before those of a window. p_look lists are looked at, of whatever kind; the last row says how far that
-- went (looked_to; null: there are no more). None of a tenant that is paused. One seek each. Index: queue_waiting.
create or replace function headrace.waiting_lists(p_tenant uuid, p_kinds text[], p_before text, p_look integer)
returns table (waits_for text, looked_to text) language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    if exists (select from headrace.tenants t where t.id = p_tenant and t.paused_at is not null) then
        return query select null::text, null::text;
        return;
    end if;
    looked_to := p_before;
    for i in 1 .. p_look loop
        if looked_to is null then
            select q.waits_for into looked_to from headrace.queue q
            where q.tenant_id = p_tenant and q.waits_for is not null order by q.waits_for desc limit 1;
        else
            select q.waits_for into looked_to from headrace.queue q
            where q.tenant_id = p_tenant and q.waits_for is not null and q.waits_for < looked_to
            order by q.waits_for desc limit 1;
        end if;
        exit when looked_to is null;
        if split_part(looked_to, ':', 1) = any (p_kinds) then
            return query select looked_to, null::text;
        end if;
    end loop;
    return query select null::text, looked_to;
end $$;

-- Let jobs in from the lists of some tenants, one tenant after the other, until p_within_s seconds have passed. p_before: for
-- each the list where its turn goes on (null: its first). Rows with a lane: turns to offer. One row without a lane for each
-- tenant that had its turn: upto, where its next turn goes on. What cannot be done for what a row carries stops its own tenant
-- only, and is set aside.
create or replace function headrace.release_by_turns(p_chore text, p_tenants uuid[], p_before text[], p_lists integer, p_limit integer,
                                                     p_within_s double precision)
returns table (tenant_id uuid, lane text, jobs integer, upto text) language plpgsql as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := headrace.now();
    v_until constant timestamptz := clock_timestamp() + make_interval(secs => p_within_s);
    v_each constant integer := greatest(2, p_limit / greatest(cardinality(p_tenants), 1));
    v_lists constant integer := greatest(2, p_lists / greatest(cardinality(p_tenants), 1));
    v_got jsonb[];
    v_reached integer;
begin
    foreach v_reached in array array[0, 1] loop  -- all together; where that fails, each by itself
        declare
            v_alone constant boolean := v_reached = 1;
        begin
            v_got := '{}';
            v_reached := 0;
            for i in 1 .. cardinality(p_tenants) loop
                exit when i > 1 and clock_timestamp() > v_until;
                v_reached := i;
                v_got[i] := '{}';
                continue when headrace.is_aside(p_chore, p_tenants[i], null, v_now);
                if not v_alone then
                    v_got[i] := headrace.release_of(p_chore, p_tenants[i], p_before[i], v_lists, v_each, v_now, v_until);
                    continue;
                end if;
                begin
                    v_got[i] := headrace.release_of(p_chore, p_tenants[i], p_before[i], v_lists, v_each, v_now, v_until);
                exception when others then
                    if not headrace.is_of_the_row(sqlstate) then raise; end if;
                    perform headrace.put_aside(p_chore, p_tenants[i], null, sqlerrm, sqlstate);
                end;
            end loop;
            exit;
        exception when others then
            if v_alone or not headrace.is_of_the_row(sqlstate) then raise; end if;
        end;
    end loop;
    return query
        select p_tenants[i], null::text, 0, v_got[i] ->> 'upto' from generate_series(1, v_reached) i
        union all
        select p_tenants[i], t.key, t.value::integer, null
        from generate_series(1, v_reached) i cross join lateral jsonb_each_text(v_got[i] -> 'turns') t;
end $$;

-- One tenant's turn at a chore: {"turns": {lane: jobs}, "upto": where the next one goes on}.
create or replace function headrace.release_of(p_chore text, p_tenant uuid, p_before text, p_lists integer, p_limit integer,
                                               v_now timestamptz, p_until timestamptz)
returns jsonb language sql as $$
    select case p_chore
        when 'money' then headrace.release_for_money_of(p_tenant, p_before, p_lists, p_limit, v_now, p_until)
        when 'slots' then headrace.release_for_slots_of(p_tenant, p_before, p_lists, p_limit)
    end;
$$;

-- One more turn of a lane.
create or replace function headrace.one_more(p_turns jsonb, p_lane text) returns jsonb language sql immutable
return p_turns || jsonb_build_object(p_lane, coalesce((p_turns ->> p_lane)::integer, 0) + 1);

-- The first of a list: lanes take turns by their weights, and within a lane the lowest rank comes first. Locked; whoever
-- else is at them is skipped.
create or replace function headrace.first_waiting(p_tenant uuid, p_waits_for text, p_limit integer, p_fits numeric default null)
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

-- One waiting job → queued, at its own place. It keeps what it waited for until a call is granted, so that its room is
-- not given twice.
create or replace function headrace.release_one(q headrace.queue) returns void language sql as $$
    update headrace.queue x set state = 'queued', run_at = null, reason = null,
        rank = greatest(x.rank, headrace.virtual_time(q.tenant_id, q.lane))
    where x.id = q.id and x.tenant_id = q.tenant_id;
$$;

-- Release what fits under caps now, of some tenants (release_by_turns).
create or replace function headrace.release_for_money(p_tenants uuid[], p_before text[], p_lists integer, p_limit integer,
                                                      p_within_s double precision)
returns table (tenant_id uuid, lane text, jobs integer, upto text) language plpgsql as $$
begin
    -- one at a time: two would give the same room twice. It is held for this statement, whatever becomes of who asked
    if not headrace.hold_chore('release_for_money') then return; end if;
    return query select * from headrace.release_by_turns('money', p_tenants, p_before, p_lists, p_limit, p_within_s);
end $$;

-- Of one tenant: first by the cap that each job waits for, then by its other two; a job that another cap stops moves to that
-- one's list. In a list of those that wait for others' reservations nobody overtakes; in one that waits for the window, a job
-- that still does not fit lets the next one try. Nothing is locked but queue rows, so what is released may still be turned
-- away by `begin`, which decides. p_limit: most jobs looked at in a list.
create or replace function headrace.release_for_money_of(p_tenant uuid, p_before text, p_lists integer, p_limit integer,
                                                         v_now timestamptz, p_until timestamptz)
returns jsonb language plpgsql as $$
declare
    v_list record;
    q headrace.queue;
    v_kind text; v_scope text; v_key text;
    v_given jsonb := '{}';  -- what has been given under the caps and was not used yet, USD
    v_at text; v_cap record; v_free numeric; v_window numeric; v_stop boolean; v_fits numeric;
    v_turns jsonb := '{}';
    v_upto text;
begin
    for v_list in select * from headrace.waiting_lists(p_tenant, array['cap', 'room'], p_before, p_lists) loop
        if v_list.waits_for is null then
            v_upto := v_list.looked_to;
            exit;
        end if;
        v_kind := split_part(v_list.waits_for, ':', 1);
        v_scope := split_part(v_list.waits_for, ':', 2);
        v_key := substr(v_list.waits_for, length(v_kind) + length(v_scope) + 3);
        select * into v_cap from headrace.cap_now(p_tenant, v_scope, v_key, v_now);
        v_window := v_cap.limit_usd - v_cap.spent_usd;
        v_fits := case when v_kind = 'cap' then v_window end;
        -- one seek tells whether anybody can be helped
        continue when v_kind = 'cap' and not exists (
            select from headrace.queue x where x.tenant_id = p_tenant and x.waits_for = v_list.waits_for
            and (v_window is null or x.need_usd <= v_window));
        for q in select * from headrace.first_waiting(p_tenant, v_list.waits_for, p_limit, v_fits) loop
            v_stop := false;
            v_at := null;
            foreach v_at in array array[v_scope || ':' || v_key, 'tenant:', 'user:' || q.user_id, 'feature:' || q.feature] loop
                select * into v_cap from headrace.cap_now(p_tenant, split_part(v_at, ':', 1), substr(v_at, strpos(v_at, ':') + 1), v_now);
                continue when v_cap.limit_usd is null;
                if not v_given ? v_at then
                    v_given := v_given || jsonb_build_object(v_at, (  -- index: queue_let_in
                        select coalesce(sum(x.need_usd), 0) from headrace.queue x
                        where x.tenant_id = p_tenant and x.waits_for in ('cap:' || v_at, 'room:' || v_at)
                          and x.state <> 'scheduled'));
                end if;
                v_window := v_cap.limit_usd - v_cap.spent_usd;
                v_free := v_window - v_cap.reserved_usd - (v_given ->> v_at)::numeric;
                continue when q.need_usd <= v_free;
                -- it does not fit under this one: that is the list where it belongs
                v_stop := true;
                if q.need_usd <= v_window then
                    perform headrace.wait_elsewhere(q, 'room:' || v_at, 'waiting_for_room', v_now);
                elsif exists (select from headrace.jobs j where j.id = q.id and j.tenant_id = p_tenant and j.on_over_budget = 'wait')
                      and q.need_usd <= v_cap.limit_usd then
                    perform headrace.wait_elsewhere(q, 'cap:' || v_at, 'over_budget', headrace.room_at(p_tenant,
                        split_part(v_at, ':', 1), substr(v_at, strpos(v_at, ':') + 1), v_cap.limit_usd, q.need_usd, v_now));
                else
                    -- it will never run, or did not ask to wait for the window: `begin` says so, and the worker ends it
                    update headrace.queue x set waits_for = null, need_usd = null where x.id = q.id and x.tenant_id = q.tenant_id;
                    perform headrace.release_one(q);
                    v_turns := headrace.one_more(v_turns, q.lane);
                end if;
                exit;
            end loop;
            if v_stop then
                -- nobody overtakes the first that waits for others' reservations
                exit when v_kind = 'room' and v_at = v_scope || ':' || v_key and q.need_usd <= v_window;
                continue;
            end if;
            perform headrace.release_one(q);
            foreach v_at in array array['tenant:', 'user:' || q.user_id, 'feature:' || q.feature] loop
                if v_given ? v_at then
                    v_given := v_given || jsonb_build_object(v_at, (v_given ->> v_at)::numeric + q.need_usd);
                end if;
            end loop;
            v_turns := headrace.one_more(v_turns, q.lane);
        end loop;
        v_upto := v_list.waits_for;
        exit when clock_timestamp() > p_until;
        v_upto := null;
    end loop;
    return jsonb_build_object('turns', v_turns, 'upto', v_upto);
end $$;

-- Put a waiting job into another list, if it is not there already.
create or replace function headrace.wait_elsewhere(q headrace.queue, p_waits_for text, p_reason text, p_run_at timestamptz)
returns void language sql as $$
    update headrace.queue x set waits_for = p_waits_for, reason = p_reason, run_at = coalesce(p_run_at, x.run_at)
    where x.id = q.id and x.tenant_id = q.tenant_id and x.waits_for <> p_waits_for;
$$;

-- Release the first p_n of a list that waits for a rate, less those that were released and have not got their call yet.
create or replace function headrace.release_for_rate(p_tenant uuid, p_waits_for text, p_n integer)
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql as $$
#variable_conflict use_column
declare
    v_out integer;
begin
    if not headrace.hold_chore('release_for_rate') then return; end if;  -- as above
    select count(*) into v_out from headrace.queue x
    where x.tenant_id = p_tenant and x.waits_for = p_waits_for and x.state <> 'scheduled';
    return query
    with released as (
        select f.lane, headrace.release_one(f) from headrace.first_waiting(p_tenant, p_waits_for, greatest(p_n - v_out, 0)) f)
    select p_tenant, r.lane, count(*)::integer from released r group by r.lane;
end $$;

-- The lists of some tenants that wait for a rate, with the rate as it is now. One row without a list for each tenant: upto,
-- where its next turn goes on (release_by_turns).
create or replace function headrace.lists_of_rates(p_tenants uuid[], p_before text[], p_lists integer)
returns table (tenant_id uuid, waits_for text, per_minute integer, upto text) language sql stable as $$
    select t.tenant_id, l.waits_for, case when l.waits_for is not null then headrace.rate_now(t.tenant_id, l.waits_for) end, l.looked_to
    from unnest(p_tenants, p_before) as t(tenant_id, before)
    cross join lateral headrace.waiting_lists(t.tenant_id, array['rate'], t.before,
                                              greatest(2, p_lists / greatest(cardinality(p_tenants), 1))) l
    where not headrace.is_aside('rates', t.tenant_id, null, headrace.now());
$$;

-- The same for several lists, side by side: tenants, lists and how many of each. What cannot be done for what a row carries
-- stops its own tenant only, and is set aside.
create or replace function headrace.release_for_rates(p_tenants uuid[], p_lists text[], p_ns integer[])
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql as $$
#variable_conflict use_column
begin
    begin
        return query
            select r.tenant_id, r.lane, sum(r.jobs)::integer from unnest(p_tenants, p_lists, p_ns) as l(tenant_id, waits_for, n)
            cross join lateral headrace.release_for_rate(l.tenant_id, l.waits_for, l.n) r group by r.tenant_id, r.lane;
        return;
    exception when others then
        if not headrace.is_of_the_row(sqlstate) then raise; end if;
    end;
    for i in 1 .. cardinality(p_tenants) loop
        begin
            return query select * from headrace.release_for_rate(p_tenants[i], p_lists[i], p_ns[i]);
        exception when others then
            if not headrace.is_of_the_row(sqlstate) then raise; end if;
            perform headrace.put_aside('rates', p_tenants[i], null, sqlerrm, sqlstate);
        end;
    end loop;
end $$;
