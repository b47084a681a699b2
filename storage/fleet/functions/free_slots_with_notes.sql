-- As free_slots, where no caller waits for an answer: the turns go through the scheduler's notes.
create or replace function headrace.free_slots_with_notes(p_tenant uuid, p_claim uuid) returns void language sql as $$
    insert into headrace.wakes (tenant_id, lane)
    select (o ->> 'tenant_id')::uuid, o ->> 'lane' from jsonb_array_elements(headrace.free_slots(p_tenant, p_claim)) o;
$$;
