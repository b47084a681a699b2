-- A free slot that was promised to nobody, locked; null when there is none. Index: slots_free.
create or replace function headrace.free_slot(p_cap_key text) returns integer language sql as $$
    select s.n from headrace.slots s where s.cap_key = p_cap_key and s.claim_id is null and s.promised_to is null
    order by s.n limit 1 for update skip locked;
$$;
