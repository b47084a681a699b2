-- One tenant's turn at a chore: {"turns": {lane: jobs}, "upto": where the next one goes on}.
create or replace function headrace.release_of(
    p_chore text, p_tenant uuid, p_before text, p_lists integer, p_limit integer, v_now timestamptz,
    p_until timestamptz)
returns jsonb language sql as $$
    select case p_chore
        when 'money' then headrace.release_for_money_of(p_tenant, p_before, p_lists, p_limit, v_now, p_until)
        when 'slots' then headrace.release_for_slots_of(p_tenant, p_before, p_lists, p_limit)
    end;
$$;
