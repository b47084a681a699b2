-- begin: the write-ahead of one provider call. Checks the claim, the price and the three caps, reserves the worst case
-- of this call and of those still planned, and writes the run as *started*. One transaction, safe to repeat: a run id
-- that exists is read back while the claim holds. The claim comes first: its row's lock lets a repeat wait for a first
-- try that is still under way, and a worker that lost its job is not told to call.
--
-- Verdicts: granted (call now, with max_output_tokens as returned), over_budget (spent + own worst case pass a cap: no
-- waiting for others helps; room_at says when the window frees enough), wait_for_room (only others' reservations stand
-- in the way, or another job under that cap comes first), no_slot (as many calls of this model run as may), unpriced,
-- cancelled, expired, lost (the claim is no longer ours). reserved_usd of over_budget and wait_for_room: what the job
-- has to reserve at the least.
--
-- p_later: worst cases of the plan's later calls, [{"provider", "model", "input_bound", "max_output_tokens"}, …].
-- p_processing: standard, or batch (the provider's own batches, at their discount).
-- Its time is read after the waits for locks, and read again when the caps are held: the run starts then, is priced as
-- of then, and is booked in that hour (lock_caps.sql says why).
-- Locks: queue row → caps (tenant → user → feature) → a slot (never waited for).
create or replace function headrace.begin(
    p_tenant uuid, p_job uuid, p_claim uuid, p_run uuid, p_kind text, p_provider text, p_model text, p_tier text,
    p_route_rule text, p_fallback boolean, p_input_bound bigint, p_max_output integer,
    p_min_output integer default null, p_prompt uuid default null, p_key_owner text default 'platform',
    p_later jsonb default '[]', p_processing text default 'standard',
    out verdict text, out reserved_usd numeric, out max_output_tokens integer, out cap_scope text, out cap_key text,
    out limit_usd numeric, out spent_usd numeric, out others_reserved_usd numeric, out room_at timestamptz,
    out remaining_s double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_batch constant boolean := p_processing = 'batch';
    v_capped constant boolean := p_key_owner = 'platform';  -- a tenant's own key is not under the platform's caps
    v_model constant text := p_provider || ':' || p_model;
    v_now timestamptz;
    q record;
    v_held numeric := 0;  -- reserved by this claim for this call and later ones
    v_caps headrace.locked_cap[];
    v_price headrace.model_prices;
    v_later numeric;      -- worst case of the later calls
    v_worst numeric;      -- worst case of this one
    v_need numeric := 0;  -- what has to be reserved beside what is held
    v_behind text[];      -- scopes of the caps under which other jobs come first
    f record;
    c headrace.locked_cap;
begin
    <<work>> begin
    perform headrace.hold_caps(null);

    -- (1) the claim, and whether this very call has begun already or should not any more
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

    -- (2) what the claim holds already; its first call has to reserve, so the caps are locked before the price is
    -- looked up
    if v_capped then
        v_held := headrace.held_by_claim(p_tenant, p_job, p_claim);
        if v_held is null then
            v_held := 0;
            v_caps := headrace.lock_caps(p_tenant, q.user_id, q.feature);
        end if;
    end if;

    -- (3) the price: once; twice where it tells that caps have to be locked, which may take until another price holds
    loop
        if v_caps is not null then
            v_now := v_caps[1].at;
            remaining_s := extract(epoch from q.deadline - v_now);
            if q.deadline <= v_now then verdict := 'expired'; exit work; end if;
        end if;
        v_price := headrace.price_in_force(p_provider, p_model, v_now);
        v_worst := headrace.worst_case(v_price, p_input_bound, p_max_output, v_batch);
        v_later := case when p_later = '[]' then 0 else headrace.worst_case_of(p_later, v_now, v_batch) end;
        if v_worst is null or v_later is null then verdict := 'unpriced'; exit work; end if;
        if v_capped then v_need := greatest(v_worst + v_later - v_held, 0); end if;
        exit when v_need = 0 or v_caps is not null;
        v_caps := headrace.lock_caps(p_tenant, q.user_id, q.feature);
    end loop;
    max_output_tokens := p_max_output;

    -- (4) the caps
    if v_need > 0 then
        if v_held = 0 then  -- nothing comes before a claim that is at work already
            v_behind := headrace.caps_behind(p_tenant, p_job, q.lane, q.rank, q.waits_for, v_caps);
        end if;
        f := headrace.fit_call(v_price, p_input_bound, p_max_output, p_min_output, v_worst, v_later, v_held, v_caps,
                               v_behind, v_batch);
        if f.cap is not null then
            c := v_caps[f.cap];
            verdict := f.verdict;
            cap_scope := c.scope;
            cap_key := c.key;
            limit_usd := c.limit_usd;
            spent_usd := c.spent_usd;
            others_reserved_usd := c.reserved_usd - v_held;
            reserved_usd := f.least_usd;
            if verdict = 'over_budget' then
                room_at := headrace.room_at(p_tenant, c.scope, c.key, c.limit_usd, f.least_usd, v_now);
            end if;
            exit work;
        end if;
        max_output_tokens := f.max_output_tokens;
        v_worst := f.worst_usd;
        v_need := greatest(v_worst + v_later - v_held, 0);
    end if;

    -- (5) a slot of the model's concurrency cap
    if not headrace.take_model_slot(p_tenant, p_claim, p_job, v_model) then
        verdict := 'no_slot';
        cap_scope := 'model';
        cap_key := v_model;
        exit work;
    end if;

    -- (6) the reservation and the run; the job waits for nothing any more
    if v_need > 0 then
        perform headrace.reserve(p_tenant, p_job, p_claim, q.user_id, q.feature, v_need, v_now);
    end if;
    insert into headrace.runs (id, tenant_id, job_id, claim_id, attempt, user_id, feature, prompt_id, kind, tier,
                               route_rule, fallback, provider, model, price_id, key_owner, processing,
                               max_output_tokens, reserved_usd, created_at)
    values (p_run, p_tenant, p_job, p_claim, q.attempts, q.user_id, q.feature, p_prompt, p_kind, p_tier, p_route_rule,
            p_fallback, p_provider, p_model, v_price.id, p_key_owner, p_processing, max_output_tokens, v_worst, v_now);
    if q.waits_for is not null then
        if q.waits_for like 'slot:model:%' then
            perform headrace.break_promise(p_tenant, p_job, q.waits_for);  -- it may have asked another model
        end if;
        update headrace.queue x set waits_for = null, need_usd = null where x.id = p_job and x.tenant_id = p_tenant;
    end if;
    verdict := 'granted';
    reserved_usd := v_worst;
    end work;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
