-- Promise a model's free slot to the next that waits: of the tenant with the lowest tag (a call costs 1 / its weight),
-- its lanes by their weights, the lowest rank. The job is queued, and the slot is kept for it until its call begins.
-- Looks at tenants one by one, each as itself; whatever is locked is passed over. Returns the turn to offer, or
-- nothing.
create or replace function headrace.release_for_model(p_cap_key text) returns jsonb language plpgsql as $$
declare
    v_caller constant text := coalesce(current_setting('app.tenant_id', true), '');
    v_n constant integer := headrace.free_slot(p_cap_key);
    h headrace.slot_shares;
    q headrace.queue;
    v_weight numeric;
    v_tried uuid[] := '{}';
    v_offers jsonb := '[]';
begin
    if v_n is null then return v_offers; end if;
    loop  -- one row locked at a time: whoever frees another slot meanwhile finds the others
        select * into h from headrace.slot_shares x
        where x.cap_key = p_cap_key and x.waiting and x.of_tenant <> all (v_tried)
        order by x.tag, x.of_tenant limit 1 for update skip locked;
        exit when not found;
        v_tried := v_tried || h.of_tenant;
        perform set_config('app.tenant_id', h.of_tenant::text, true);
        select coalesce(t.weight, p.weight) into v_weight from headrace.tenants t
        join headrace.plans p on p.name = t.plan
        where t.id = h.of_tenant and t.paused_at is null;
        continue when not found;
        select * into q from headrace.first_waiting(h.of_tenant, 'slot:' || p_cap_key, 1);
        if not found then
            update headrace.slot_shares x set waiting = false where x.cap_key = h.cap_key and x.of_tenant = h.of_tenant;
            continue;
        end if;
        perform headrace.release_one(q);
        update headrace.slots s set promised_to = q.id, promised_tenant = h.of_tenant, promised_at = headrace.now()
            where s.cap_key = p_cap_key and s.n = v_n;
        update headrace.slot_shares x set tag = x.tag + 1 / v_weight, waiting = exists (
            select from headrace.queue w
            where w.tenant_id = h.of_tenant and w.waits_for = 'slot:' || p_cap_key and w.state = 'scheduled')
        where x.cap_key = h.cap_key and x.of_tenant = h.of_tenant;
        v_offers := jsonb_build_array(jsonb_build_object('tenant_id', h.of_tenant, 'lane', q.lane));
        exit;
    end loop;
    perform set_config('app.tenant_id', v_caller, true);
    return v_offers;
end $$;
