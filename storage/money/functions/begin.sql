-- begin: the write-ahead of one provider call. Checks the claim, the price and the three caps, reserves the worst case
-- of this call and of those still planned, and writes the run as *started*. One transaction, safe to repeat: a run id
-- that exists is read back while the claim holds. The claim comes first: its row's lock lets a repeat wait for a first try
-- that is still under way, and a worker that lost its job is not told to call.
--
-- Verdicts: granted (call now, with max_output_tokens as returned), over_budget (spent + own worst case pass a cap: no
-- waiting for others helps; room_at says when the window frees enough), wait_for_room (only others' reservations stand
-- in the way, or somebody's turn under that cap comes first), no_slot (as many calls of this model run as may), unpriced, cancelled, expired, lost (the claim is no longer
-- ours). reserved_usd of over_budget and wait_for_room: what the job has to reserve at the least.
--
-- p_later: worst cases of the plan's later calls, [{"provider", "model", "input_bound", "max_output_tokens"}, …].
-- p_processing: standard, or batch (the provider's own batches, at their discount).
-- Its time is read after the waits for locks, and read again when the caps are held: the run starts then, is priced as of
-- then, and is booked in that hour (lock_caps.sql says why).
-- Locks: queue row → caps (tenant → user → feature) → a slot (never waited for).
create or replace function headrace.begin(
    p_tenant uuid, p_job uuid, p_claim uuid, p_run uuid, p_kind text, p_provider text, p_model text, p_tier text,
    p_route_rule text, p_fallback boolean, p_input_bound bigint, p_max_output integer, p_min_output integer default null,
    p_prompt uuid default null, p_key_owner text default 'platform', p_later jsonb default '[]',
    p_processing text default 'standard',
    out verdict text, out reserved_usd numeric, out max_output_tokens integer, out cap_scope text, out cap_key text,
    out limit_usd numeric, out spent_usd numeric, out others_reserved_usd numeric, out room_at timestamptz,
    out remaining_s double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_now timestamptz;
    v_batch boolean := p_processing = 'batch';
    q record;
    p headrace.model_prices;
    v_later numeric := 0;
    v_worst numeric;
    v_least numeric;   -- what the whole plan costs at most when this answer is as short as the prompt allows
    v_held numeric := 0;
    v_need numeric := 0;
    v_room numeric;
    v_wait boolean := false;
    l record;
    v_caps headrace.locked_cap[];
    c headrace.locked_cap;
    v_slot boolean := false;  -- a slot of the model's concurrency cap was taken
    v_others boolean;  -- somebody waits for others' reservations to settle: it may be his turn
begin
    <<work>> begin
    perform headrace.hold_caps(null);

    select x.user_id, x.feature, x.lane, x.rank, x.attempts, x.deadline, x.cancel_requested_at, x.waits_for into q
    from headrace.queue x where x.id = p_job and x.tenant_id = p_tenant and x.claim_id = p_claim for no key update;
    if not found then verdict := 'lost'; exit work; end if;
    v_now := headrace.now();
    remaining_s := extract(epoch from q.deadline - v_now);

    select r.reserved_usd, r.max_output_tokens into reserved_usd, max_output_tokens
    from headrace.runs r where r.id = p_run and r.tenant_id = p_tenant;
    if found then verdict := 'granted'; exit work; end if;

    if q.cancel_requested_at is not null then verdict := 'cancelled'; exit work; end if;
    if q.deadline <= v_now then verdict := 'expired'; exit work; end if;

    if p_key_owner = 'platform' then
        select r.amount_usd into v_held from headrace.reservations r where r.claim_id = p_claim and r.tenant_id = p_tenant;
        if found then
            -- what its open runs hold is taken; what is left was reserved for the plan's later calls
            v_held := v_held - coalesce((
                select sum(o.reserved_usd) from headrace.runs o
                where o.job_id = p_job and o.claim_id = p_claim and o.status = 'started' and o.tenant_id = p_tenant), 0);
        else
            v_held := 0;
            v_caps := headrace.lock_caps(p_tenant, q.user_id, q.feature);  -- a claim's first call has to reserve
        end if;
    end if;

    loop  -- once; twice where only the price tells that caps have to be locked, which may take until another price holds
        if v_caps is not null then
            v_now := v_caps[1].at;
            remaining_s := extract(epoch from q.deadline - v_now);
            if q.deadline <= v_now then verdict := 'expired'; exit work; end if;
        end if;
        p := headrace.price_in_force(p_provider, p_model, v_now);
        if p.id is null then verdict := 'unpriced'; exit work; end if;
        v_later := 0;
        for l in select * from jsonb_to_recordset(p_later)
                 as x(provider text, model text, input_bound bigint, max_output_tokens bigint) loop
            v_worst := headrace.worst_case(headrace.price_in_force(l.provider, l.model, v_now), l.input_bound, l.max_output_tokens,
                                           v_batch);
            if v_worst is null then verdict := 'unpriced'; exit work; end if;
            v_later := v_later + v_worst;
        end loop;
        v_worst := headrace.worst_case(p, p_input_bound, p_max_output, v_batch);
        exit when p_key_owner <> 'platform';
        v_least := v_later + headrace.worst_case(p, p_input_bound, least(p_min_output, p_max_output), v_batch);
        v_need := greatest(v_worst + v_later - v_held, 0);
        exit when v_need = 0 or v_caps is not null;
        v_caps := headrace.lock_caps(p_tenant, q.user_id, q.feature);
    end loop;
    max_output_tokens := p_max_output;

    if p_key_owner = 'platform' then
        if v_need > 0 then
            v_others := exists (select from headrace.queue w where w.tenant_id = p_tenant and w.waits_for >= 'room:' and w.waits_for < 'room;');
            foreach c in array v_caps loop
                continue when c.limit_usd is null;
                -- what the claim itself already holds is not in its own way
                v_room := c.limit_usd - c.spent_usd - c.reserved_usd + v_held;
                if v_least <= v_room then
                    if v_worst + v_later > v_room then
                        -- shrink the answer to what fits, down to the least that the prompt calls useful
                        max_output_tokens := headrace.shortened_output(p, p_input_bound, max_output_tokens, p_min_output,
                                                                       v_room - v_later, v_batch);
                        v_worst := headrace.worst_case(p, p_input_bound, max_output_tokens, v_batch);
                        v_need := greatest(v_worst + v_later - v_held, 0);
                    end if;
                    -- who was let in by this cap's list has had its turn given, though it came back with the rank of now
                    continue when v_held > 0 or not v_others or q.waits_for = 'room:' || c.scope || ':' || c.key
                        or not headrace.others_come_first(p_tenant, p_job, q.lane, q.rank, c.scope, c.key);
                end if;
                cap_scope := c.scope;
                cap_key := c.key;
                limit_usd := c.limit_usd;
                spent_usd := c.spent_usd;
                others_reserved_usd := c.reserved_usd - v_held;
                reserved_usd := v_least;
                if c.spent_usd + v_least > c.limit_usd then
                    verdict := 'over_budget';
                    room_at := headrace.room_at(p_tenant, c.scope, c.key, c.limit_usd, v_least, v_now);
                    exit work;
                end if;
                v_wait := true;   -- a later cap may still say over_budget, which is the stronger word
            end loop;
            if v_wait then
                verdict := 'wait_for_room';
                exit work;
            end if;
            if not headrace.take_model_slot(p_tenant, p_claim, p_job, p_provider || ':' || p_model) then
                verdict := 'no_slot';
                cap_scope := 'model';
                cap_key := p_provider || ':' || p_model;
                exit work;
            end if;
            v_slot := true;
            update headrace.caps k set reserved_usd = k.reserved_usd + v_need
            where k.tenant_id = p_tenant
              and (k.scope, k.key) in (('tenant', ''), ('user', q.user_id), ('feature', q.feature));
            insert into headrace.reservations as r (claim_id, tenant_id, job_id, user_id, feature, amount_usd, created_at)
            values (p_claim, p_tenant, p_job, q.user_id, q.feature, v_need, v_now)
            on conflict (claim_id, tenant_id) do update set amount_usd = r.amount_usd + excluded.amount_usd;
        end if;
    end if;

    if not v_slot and not headrace.take_model_slot(p_tenant, p_claim, p_job, p_provider || ':' || p_model) then
        verdict := 'no_slot';
        cap_scope := 'model';
        cap_key := p_provider || ':' || p_model;
        exit work;
    end if;
    insert into headrace.runs (id, tenant_id, job_id, claim_id, attempt, user_id, feature, prompt_id, kind, tier,
                               route_rule, fallback, provider, model, price_id, key_owner, processing, max_output_tokens,
                               reserved_usd, created_at)
    values (p_run, p_tenant, p_job, p_claim, q.attempts, q.user_id, q.feature, p_prompt, p_kind, p_tier, p_route_rule,
            p_fallback, p_provider, p_model, p.id, p_key_owner, p_processing, max_output_tokens, v_worst, v_now);
    if q.waits_for is not null then
        if q.waits_for like 'slot:model:%' then
            perform headrace.break_promise(p_tenant, p_job, q.waits_for);  -- it may have asked another model
        end if;
        update headrace.queue x set waits_for = null, need_usd = null where x.id = p_job and x.tenant_id = p_tenant;
    end if;
    verdict := 'granted';
    reserved_usd := v_worst;
    cap_scope := null; cap_key := null; limit_usd := null; spent_usd := null; others_reserved_usd := null;
    end work;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
