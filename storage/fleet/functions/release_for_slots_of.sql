-- One tenant's turn at release_for_slots: that it waits for a model's slots; where that model has no cap any more, the
-- jobs are let in. What waits for a slot of a lane or a feature is queued: the sweep offers its turns.
create or replace function headrace.release_for_slots_of(p_tenant uuid, p_before text, p_lists integer, p_limit integer)
returns jsonb language plpgsql as $$
declare
    v_list record;
    v_key text;
    q headrace.queue;
    v_turns jsonb := '{}';
    v_upto text;
begin
    for v_list in select * from headrace.waiting_lists(p_tenant, array['slot'], p_before, p_lists) loop
        if v_list.waits_for is null then
            v_upto := v_list.looked_to;
            exit;
        end if;
        v_key := substr(v_list.waits_for, length('slot:') + 1);
        if exists (select from headrace.concurrency c where c.tenant_id is null
                   and c.scope = 'model' and c.key = substr(v_key, length('model:') + 1)) then
            perform headrace.waits_for_model(p_tenant, v_key);
            continue;
        end if;
        -- there is no cap any more
        for q in select * from headrace.first_waiting(p_tenant, v_list.waits_for, p_limit) loop
            perform headrace.release_one(q);
            v_turns := headrace.one_more(v_turns, q.lane);
        end loop;
    end loop;
    return jsonb_build_object('turns', v_turns, 'upto', v_upto);
end $$;
