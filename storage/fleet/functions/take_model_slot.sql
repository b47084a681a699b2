-- A call that is about to begin takes a slot of its model: the one it was promised, else what another job of its tenant
-- was (the turn that came for that one brought this one), else, while nobody waits, a free one.
-- Returns false when there is none for it. No cap, or a slot held already: true.
create or replace function headrace.take_model_slot(p_tenant uuid, p_claim uuid, p_job uuid, p_model text)
returns boolean language plpgsql as $$
declare
    v_key constant text := (select headrace.slot_key(null, 'model', p_model) from headrace.concurrency c
                            where c.tenant_id is null and c.scope = 'model' and c.key = p_model);
    v_n integer;
    v_whose uuid;
begin
    if v_key is null or exists (select from headrace.slots s
        where s.claim_id = p_claim and s.of_tenant = p_tenant and s.cap_key = v_key) then
        return true;
    end if;
    select s.n, s.promised_to into v_n, v_whose from headrace.slots s
    where s.cap_key = v_key and s.claim_id is null and s.promised_tenant = p_tenant
    order by s.promised_to <> p_job limit 1 for update skip locked;
    if not found then
        if exists (select from headrace.slot_shares h where h.cap_key = v_key and h.waiting) then
            return false;
        end if;
        v_n := headrace.free_slot(v_key);
    elsif v_whose <> p_job then  -- that one waits on, if it is not at work already
        update headrace.queue x set state = 'scheduled', run_at = headrace.now(), reason = 'waiting_for_slot' from (
            select y.id from headrace.queue y
            where y.id = v_whose and y.tenant_id = p_tenant and y.state = 'queued' for update skip locked) y
        where x.id = y.id and x.tenant_id = p_tenant;
        perform headrace.waits_for_model(p_tenant, v_key);
    end if;
    update headrace.slots s set claim_id = p_claim, of_tenant = p_tenant, promised_to = null, promised_tenant = null,
        promised_at = null where s.cap_key = v_key and s.n = v_n;
    return v_n is not null;
end $$;
