-- Jobs that wait for room (queue.waits_for): released by room, in fair order, never all at once.

-- The lists that anybody waits in, of the kinds asked for. A loose index scan: one seek a list, not a scan of the jobs.
create or replace function headrace.waiting_lists(p_kinds text[])
returns table (tenant_id uuid, waits_for text) language sql stable as $$
    with recursive lists as (
        (select q.tenant_id, q.waits_for from headrace.queue q where q.waits_for is not null
         order by q.tenant_id, q.waits_for limit 1)
        union all
        select n.tenant_id, n.waits_for from lists l cross join lateral (
            select q.tenant_id, q.waits_for from headrace.queue q
            where q.waits_for is not null and (q.tenant_id, q.waits_for) > (l.tenant_id, l.waits_for)
            order by q.tenant_id, q.waits_for limit 1) n
    )
    select l.tenant_id, l.waits_for from lists l
    join headrace.tenants t on t.id = l.tenant_id and t.paused_at is null
    where split_part(l.waits_for, ':', 1) = any (p_kinds);
$$;

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

-- Release what fits under caps now: first by the cap that each job waits for, then by its other two; a job that another
-- cap stops moves to that one's list. In a list of those that wait for others' reservations nobody overtakes; in one that
-- waits for the window, a job that still does not fit lets the next one try. Nothing is locked but queue rows, so what is
-- released may still be turned away by `begin`, which decides. p_limit: most jobs looked at in a list.
create or replace function headrace.release_for_money(p_limit integer)
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql as $$
#variable_conflict use_column
declare
    v_now timestamptz := headrace.now();
    v_list record;
    q headrace.queue;
    v_kind text; v_scope text; v_key text;
    v_given jsonb;          -- what this pass has given under the caps of the tenant at hand, USD
    v_tenant uuid;
    v_at text; v_cap record; v_free numeric; v_window numeric; v_stop boolean; v_fits numeric;
    v_out jsonb := '{}';
begin
    -- one at a time: two would give the same room twice. It is held for this statement, whatever becomes of who asked
    if not headrace.hold_chore('release_for_money') then return; end if;
    for v_list in select * from headrace.waiting_lists(array['cap', 'room']) l order by l.tenant_id, l.waits_for desc loop
        if v_tenant is distinct from v_list.tenant_id then
            v_tenant := v_list.tenant_id;
            v_given := '{}';
        end if;
        v_kind := split_part(v_list.waits_for, ':', 1);
        v_scope := split_part(v_list.waits_for, ':', 2);
        v_key := substr(v_list.waits_for, length(v_kind) + length(v_scope) + 3);
        select * into v_cap from headrace.cap_now(v_tenant, v_scope, v_key, v_now);
        v_window := v_cap.limit_usd - v_cap.spent_usd;
        v_fits := case when v_kind = 'cap' then v_window end;
        -- one seek tells whether anybody can be helped
        continue when v_kind = 'cap' and not exists (
            select from headrace.queue x where x.tenant_id = v_tenant and x.waits_for = v_list.waits_for
            and (v_window is null or x.need_usd <= v_window));
        for q in select * from headrace.first_waiting(v_tenant, v_list.waits_for, p_limit, v_fits) loop
            v_stop := false;
            v_at := null;
            foreach v_at in array array[v_scope || ':' || v_key, 'tenant:', 'user:' || q.user_id, 'feature:' || q.feature] loop
                select * into v_cap from headrace.cap_now(v_tenant, split_part(v_at, ':', 1), substr(v_at, strpos(v_at, ':') + 1), v_now);
                continue when v_cap.limit_usd is null;
                if not v_given ? v_at then
                    v_given := v_given || jsonb_build_object(v_at, (
                        select coalesce(sum(x.need_usd), 0) from headrace.queue x
                        where x.tenant_id = v_tenant and x.waits_for in ('cap:' || v_at, 'room:' || v_at)
                          and x.state <> 'scheduled'));
                end if;
                v_window := v_cap.limit_usd - v_cap.spent_usd;
                v_free := v_window - v_cap.reserved_usd - (v_given ->> v_at)::numeric;
                continue when q.need_usd <= v_free;
                -- it does not fit under this one: that is the list where it belongs
                v_stop := true;
                if q.need_usd <= v_window then
                    perform headrace.wait_elsewhere(q, 'room:' || v_at, 'waiting_for_room', v_now);
                elsif exists (select from headrace.jobs j where j.id = q.id and j.tenant_id = v_tenant and j.on_over_budget = 'wait')
                      and q.need_usd <= v_cap.limit_usd then
                    perform headrace.wait_elsewhere(q, 'cap:' || v_at, 'over_budget', headrace.room_at(v_tenant,
                        split_part(v_at, ':', 1), substr(v_at, strpos(v_at, ':') + 1), v_cap.limit_usd, q.need_usd, v_now));
                else
                    -- it will never run, or did not ask to wait for the window: `begin` says so, and the worker ends it
                    update headrace.queue x set waits_for = null, need_usd = null where x.id = q.id and x.tenant_id = q.tenant_id;
                    perform headrace.release_one(q);
                    v_out := v_out || jsonb_build_object(v_tenant || ' ' || q.lane, coalesce((v_out ->> (v_tenant || ' ' || q.lane))::integer, 0) + 1);
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
            v_out := v_out || jsonb_build_object(v_tenant || ' ' || q.lane, coalesce((v_out ->> (v_tenant || ' ' || q.lane))::integer, 0) + 1);
        end loop;
    end loop;
    return query select split_part(o.key, ' ', 1)::uuid, split_part(o.key, ' ', 2), o.value::integer from jsonb_each_text(v_out) o;
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
