-- One tenant's turn at release_for_money: first by the cap that each job waits for, then by its other two; a job that
-- another cap stops moves to that one's list. In a list of those that wait for others' reservations nobody overtakes;
-- in one that waits for the window, a job that still does not fit lets the next one try. Nothing is locked but queue
-- rows, so what is released may still be turned away by `begin`, which decides. p_limit: most jobs looked at in a list.
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
            foreach v_at in array array[v_scope || ':' || v_key, 'tenant:', 'user:' || q.user_id, 'feature:'
                || q.feature] loop
                select * into v_cap from headrace.cap_now(p_tenant, split_part(v_at, ':', 1),
                    substr(v_at, strpos(v_at, ':') + 1), v_now);
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
                elsif exists (select from headrace.jobs j
                    where j.id = q.id and j.tenant_id = p_tenant and j.on_over_budget = 'wait')
                      and q.need_usd <= v_cap.limit_usd then
                    perform headrace.wait_elsewhere(q, 'cap:' || v_at, 'over_budget', headrace.room_at(p_tenant,
                        split_part(v_at, ':', 1), substr(v_at, strpos(v_at, ':') + 1), v_cap.limit_usd, q.need_usd,
                        v_now));
                else
                    -- it will never run, or did not ask to wait for the window: `begin` says so, and the worker ends it
                    update headrace.queue x set waits_for = null, need_usd = null
                        where x.id = q.id and x.tenant_id = q.tenant_id;
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
