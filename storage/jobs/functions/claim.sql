-- claim: the tenant's next job of a lane → *running*, held by p_claim. Fair over the tenant's users: the lowest rank
-- first. SKIP LOCKED, so claims never wait for each other (index queue_next). Resolves the prompt (the tenant's own
-- pointer first, then the default), so that a rollback is in effect at the next claim.
--
-- Takes a slot of each concurrency cap that binds the job, in the same transaction
-- (storage/fleet/functions/slot_key.sql). Where the tenant has caps of features, or jobs of a paused one in the lane,
-- the features are looked at one by one (feature_heads.sql): what cannot run costs one seek a feature, however much of
-- it there is.
--
-- A claim reads a bounded number of rows. Jobs past their deadline are passed over, 64 of them at most, and ended by
-- the scheduler (`expire`), not here. It waits for no row; only for a cap of this tenant that is being changed.
--
-- stopped_by: there was no job, and this is why, as far as it is not a pause: the key of the cap that has no free slot,
-- or 'deadline_passed', since all that was looked at is past its deadline. The turn is used up; the sweep offers
-- others. No row: nothing to claim (or the tenant, the lane or every queued feature is paused). p_repeat: the answer to
-- this same claim was lost; what it had claimed is read back. The first try may still be under way on the connection
-- that broke, and SKIP LOCKED would not see it: the claim's own lock lets the repeat wait for it, so no claim holds two
-- jobs.
-- rates: the request rates that bind it (rates_of.sql), null once they have counted it. more: W or more are still
-- queued and the lane has another free slot, so the caller offers one turn. held_s: since when it has waited for its
-- providers (queue.held_since). output_fault: what was wrong with its last answer.
create or replace function headrace.claim(
    p_tenant uuid, p_lane text, p_claim uuid, p_worker uuid, p_timeout_s double precision, p_w integer,
    p_repeat boolean default false)
returns table (job_id uuid, user_id text, feature text, attempt integer, rank bigint, estimated_tokens bigint,
               plan text, weight numeric, prompt_id uuid, variables jsonb, messages jsonb, context jsonb,
               output_schema jsonb, max_output_tokens integer, on_over_budget text, on_unknown text, force_tier text,
               metadata jsonb, rates jsonb, remaining_s double precision, held_s double precision,
               queued_s double precision, more boolean, output_fault text, stopped_by text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_looks constant integer := 64;  -- at jobs of the lane, or of each feature that is looked at
    v_now timestamptz;
    q headrace.queue;
    v_held_back boolean;
    v_capped boolean;
    v_by_feature boolean;
    v_feature text;       -- the one that is looked at; null: the whole lane
    v_passed text[] := '{}';
    v_has_room boolean;
    v_more boolean;
    v_lane_key text;      -- of the caps that bind the job, and the slots that were found
    v_lane_slot integer;
    v_feature_key text;
    v_feature_slot integer;
begin
    <<work>> begin
    if p_repeat then
        perform headrace.wait_for_claim(p_claim);
        select * into q from headrace.queue x
        where x.tenant_id = p_tenant and x.worker_id = p_worker and x.state = 'running' and x.claim_id = p_claim;
    else
        perform pg_advisory_xact_lock(hashtextextended(p_claim::text, 0));  -- of a random id: nobody else can be there
    end if;
    if q.id is null then
        perform headrace.hold_caps(p_tenant);
        v_now := headrace.now();
        select exists (select from headrace.tenants t where t.id = p_tenant and t.paused_at is not null)
                   or exists (select from headrace.lanes l where l.name = p_lane and l.paused_at is not null),
               exists (select from headrace.concurrency c where c.tenant_id = p_tenant),
               exists (select from headrace.features f where f.paused_at is not null)
        into v_held_back, v_capped, v_by_feature;
        if v_held_back then exit work; end if;
        -- a statement of its own: even what is not run of a statement costs its preparation
        if v_capped or v_by_feature then
            v_by_feature := headrace.has_walls(p_tenant, p_lane);
        end if;
        if v_capped then
            v_lane_key := headrace.cap_key_of(p_tenant, 'lane', p_lane);
            v_lane_slot := headrace.free_slot(v_lane_key);
            if v_lane_key is not null and v_lane_slot is null then
                stopped_by := v_lane_key;
                return next;
                exit work;
            end if;
        end if;
        loop
            if v_by_feature then
                select h.feature, h.cap_key, h.has_room into v_feature, v_feature_key, v_has_room
                from headrace.feature_heads(p_tenant, p_lane) h where h.feature <> all (v_passed)
                order by h.has_room desc, h.rank, h.id limit 1;
                if not found then
                    if stopped_by is not null then return next; end if;
                    exit work;
                end if;
                if not v_has_room then
                    stopped_by := v_feature_key;
                    return next;
                    exit work;
                end if;
                v_passed := array_append(v_passed, v_feature);  -- looked at once
                select * into q from headrace.queue x
                where x.tenant_id = p_tenant and x.lane = p_lane and x.feature between v_feature and v_feature
                  and x.state = 'queued'
                order by x.feature, x.rank, x.id limit 1 for update skip locked;
                continue when not found;  -- other claims are at its last ones
            else
                select * into q from headrace.queue x
                where x.tenant_id = p_tenant and x.lane = p_lane and x.state = 'queued'
                order by x.rank, x.id limit 1 for update skip locked;
                if not found then exit work; end if;
            end if;
            if q.deadline <= v_now then
                select * into q from headrace.look_past_expired(p_tenant, p_lane, v_feature, q, v_looks - 1, v_now);
                if not found then
                    stopped_by := 'deadline_passed';
                    continue when v_by_feature;
                    return next;
                    exit work;
                end if;
            end if;
            exit when v_feature_key is null;
            v_feature_slot := headrace.free_slot(v_feature_key);
            exit when v_feature_slot is not null;
            stopped_by := v_feature_key;  -- another claim has just taken the last one
        end loop;
        stopped_by := null;
        if v_capped then
            update headrace.slots s set claim_id = p_claim, of_tenant = p_tenant
            where s.cap_key = v_lane_key and s.n = v_lane_slot or s.cap_key = v_feature_key and s.n = v_feature_slot;
        end if;
        update headrace.queue x set
            state = 'running', claim_id = p_claim, worker_id = p_worker, claimed_at = v_now, attempts = x.attempts + 1,
            claim_deadline = v_now + make_interval(secs => p_timeout_s)
        where x.id = q.id and x.tenant_id = p_tenant returning * into q;
    end if;

    if v_by_feature then
        v_more := (
            select coalesce(sum(w.jobs) >= p_w, false) from headrace.feature_heads(p_tenant, p_lane) h
            cross join lateral (
                select count(*) as jobs from (
                    select from headrace.queue x
                    where x.tenant_id = p_tenant and x.lane = p_lane and x.feature between h.feature and h.feature
                      and x.state = 'queued'
                    order by x.feature, x.rank, x.id limit p_w) x) w
            where h.has_room);
    end if;
    v_now := coalesce(v_now, headrace.now());
    return query
    select j.id, j.user_id, j.feature, q.attempts, q.rank, j.estimated_tokens,
           t.plan, coalesce(t.weight, p.weight),
           a.prompt_id, j.variables, j.messages, j.context, j.output_schema, j.max_output_tokens, j.on_over_budget,
           j.on_unknown,
           j.force_tier, j.metadata, case when not q.admitted then headrace.rates_of(p_tenant, p, q) end,
           extract(epoch from j.deadline - v_now)::double precision,
           extract(epoch from v_now - q.held_since)::double precision,
           extract(epoch from v_now - greatest(j.created_at, j.run_at))::double precision,
           case when v_by_feature then v_more else exists (select from headrace.queue x
                             where x.tenant_id = p_tenant and x.lane = p_lane and x.state = 'queued'
                             order by x.rank, x.id offset p_w - 1) end
               and (v_lane_key is null
                    or exists (select from headrace.slots s where s.cap_key = v_lane_key and s.claim_id is null)),
           q.output_fault, null::text
    from headrace.jobs j
    join headrace.tenants t on t.id = j.tenant_id
    join headrace.plans p on p.name = t.plan
    cross join lateral headrace.active_prompt(p_tenant, j.prompt) a
    where j.id = q.id and j.tenant_id = p_tenant;
    end work;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
