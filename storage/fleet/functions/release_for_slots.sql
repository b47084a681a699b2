-- The repair of every hint that was lost where jobs wait for a model, and what lets them in when its cap is raised or
-- taken away, of some tenants (release_by_turns); then the slots of models. A model's slot that was promised
-- p_promise_s ago to a job that is still not at work goes to another. p_limit: most that is released at once.
create or replace function headrace.release_for_slots(
    p_tenants uuid[], p_before text[], p_lists integer, p_limit integer, p_within_s double precision,
    p_promise_s double precision default 30)
returns table (tenant_id uuid, lane text, jobs integer, upto text) language plpgsql as $$
#variable_conflict use_column
declare
    v_key text;
    v_one record;
begin
    return query select * from headrace.release_by_turns('slots', p_tenants, p_before, p_lists, p_limit, p_within_s);
    for v_key in select headrace.slot_key(null, 'model', c.key) from headrace.concurrency c
        where c.tenant_id is null and c.scope = 'model' order by c.key loop
        -- whoever takes one of them just now may wait for a row of slot_shares that is held here: he is passed over
        update headrace.slots s set promised_to = null, promised_tenant = null, promised_at = null from (
            select x.n from headrace.slots x where x.cap_key = v_key and x.claim_id is null
              and x.promised_at < headrace.now() - make_interval(secs => p_promise_s) for update skip locked) x
        where s.cap_key = v_key and s.n = x.n;
        for i in 1 .. p_limit loop
            select o.value ->> 'tenant_id' as tenant_id, o.value ->> 'lane' as lane into v_one
            from jsonb_array_elements(headrace.release_for_model(v_key)) o;
            exit when not found;
            tenant_id := v_one.tenant_id; lane := v_one.lane; jobs := 1; upto := null;
            return next;
        end loop;
    end loop;
end $$;
