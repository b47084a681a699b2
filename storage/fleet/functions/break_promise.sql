-- A job goes on without what it was promised: it ended, it waits for something else, or it asks another model. The
-- scheduler promises the slot to the next.
create or replace function headrace.break_promise(p_tenant uuid, p_job uuid, p_waits_for text)
returns void language sql as $$
    update headrace.slots s set promised_to = null, promised_tenant = null, promised_at = null
    where s.cap_key = substr(p_waits_for, length('slot:') + 1) and s.claim_id is null and s.promised_to = p_job
      and s.promised_tenant = p_tenant;
$$;
