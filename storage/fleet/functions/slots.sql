-- Concurrency caps. A cap of n is n rows of `slots` that are not retired: whoever runs under it holds one, so nothing is
-- counted and nothing can be exceeded. docs/decisions/0017-slots.md.

create or replace function headrace.slot_key(p_tenant uuid, p_scope text, p_key text) returns text language sql immutable
return case when p_scope = 'model' then 'model:' || p_key else 'tenant:' || p_tenant::text || ':' || p_scope || ':' || p_key end;

-- The key of a cap if there is one, else null.
create or replace function headrace.cap_key_of(p_tenant uuid, p_scope text, p_key text) returns text language sql stable
return (select headrace.slot_key(p_tenant, p_scope, p_key) from headrace.concurrency c
        where c.tenant_id = p_tenant and c.scope = p_scope and c.key = p_key);

-- A free slot that was promised to nobody, locked; null when there is none. Index: slots_free.
create or replace function headrace.free_slot(p_cap_key text) returns integer language sql as $$
    select s.n from headrace.slots s where s.cap_key = p_cap_key and s.claim_id is null and s.promised_to is null
    order by s.n limit 1 for update skip locked;
$$;

-- A claim lets go of its slots, and whoever comes next is let in with the same commit. Returns the turns to offer after it:
-- [{"tenant_id", "lane"}, …]. Called twice, the second time does nothing. The last thing
-- that a transaction does for a claim: it may wait for another one that lets go of a retired slot. Index: slots_by_claim.
-- p_models_only: the claim goes on, its call is over.
create or replace function headrace.free_slots(p_tenant uuid, p_claim uuid, p_models_only boolean default false)
returns jsonb language plpgsql as $$
declare
    s headrace.slots;
    v_gone boolean;
    v_n integer;
    v_what text[];
    v_lane text;
    v_offer jsonb;
    v_offers jsonb := '[]';
begin
    for s in select * from headrace.slots x
             where x.claim_id = p_claim and x.of_tenant = p_tenant and (not p_models_only or x.cap_key like 'model:%')
             order by x.cap_key for update loop
        v_gone := s.retired;
        -- while more run than the cap allows, what is let go goes, and another that is taken counts in its place
        while not v_gone and exists (select from headrace.slots x where x.cap_key = s.cap_key and x.retired) loop
            select x.n into v_n from headrace.slots x where x.cap_key = s.cap_key and x.retired order by x.n limit 1 for update;
            v_gone := found;  -- else its own claim has just let it go
            update headrace.slots x set retired = false, lent = s.lent where v_gone and x.cap_key = s.cap_key and x.n = v_n;
        end loop;
        if v_gone then
            delete from headrace.slots x where x.cap_key = s.cap_key and x.n = s.n;
            continue;
        end if;
        update headrace.slots x set claim_id = null, of_tenant = null where x.cap_key = s.cap_key and x.n = s.n;
        if s.cap_key like 'model:%' then
            v_offers := v_offers || headrace.release_for_model(s.cap_key);
            continue;
        end if;
        v_what := regexp_match(s.cap_key, '^tenant:[^:]*:(lane|feature):(.*)$');
        if v_what[1] = 'lane' then
            v_lane := (select x.lane from headrace.queue x where x.tenant_id = p_tenant and x.lane = v_what[2] and x.state = 'queued'
                       order by x.rank, x.id limit 1);
        else  -- of its lanes the one with the most weight: a seek each
            v_lane := (select l.name from headrace.lanes l cross join lateral (
                           select from headrace.queue x
                           where x.tenant_id = p_tenant and x.lane = l.name and x.feature between v_what[2] and v_what[2] and x.state = 'queued' order by x.feature, x.rank, x.id limit 1) x
                       where l.paused_at is null
                       and not exists (select from headrace.features f where f.name = v_what[2] and f.paused_at is not null)
                       order by l.weight desc, l.name limit 1);
        end if;
        v_offer := jsonb_build_array(jsonb_build_object('tenant_id', p_tenant, 'lane', v_lane));
        if v_lane is not null and not v_offers @> v_offer then  -- both of a job's slots let one job in
            v_offers := v_offers || v_offer;
        end if;
    end loop;
    return v_offers;
end $$;

-- A tenant has a job that waits for a slot of a model: it is among those who get one. Whoever comes back starts where the
-- others are, so being away saves nothing up.
create or replace function headrace.waits_for_model(p_tenant uuid, p_cap_key text) returns void language sql as $$
    insert into headrace.slot_shares as h (cap_key, of_tenant, tag)
    select p_cap_key, p_tenant, coalesce((select min(o.tag) from headrace.slot_shares o where o.cap_key = p_cap_key and o.waiting), 0)
    where not exists (select from headrace.slot_shares o where o.cap_key = p_cap_key and o.of_tenant = p_tenant and o.waiting)
    on conflict (cap_key, of_tenant) do update set waiting = true, tag = greatest(h.tag, excluded.tag);
$$;

-- Promise a model's free slot to the next that waits: of the tenant with the lowest tag (a call costs 1 / its weight), its
-- lanes by their weights, the lowest rank. The job is queued, and the slot is kept for it until its call begins. Looks at
-- tenants one by one, each as itself; whatever is locked is passed over. Returns the turn to offer, or nothing.
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
        select coalesce(t.weight, p.weight) into v_weight from headrace.tenants t join headrace.plans p on p.name = t.plan
        where t.id = h.of_tenant and t.paused_at is null;
        continue when not found;
        select * into q from headrace.first_waiting(h.of_tenant, 'slot:' || p_cap_key, 1);
        if not found then
            update headrace.slot_shares x set waiting = false where x.cap_key = h.cap_key and x.of_tenant = h.of_tenant;
            continue;
        end if;
        perform headrace.release_one(q);
        update headrace.slots s set promised_to = q.id, promised_tenant = h.of_tenant, promised_at = headrace.now() where s.cap_key = p_cap_key and s.n = v_n;
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

-- A call that is about to begin takes a slot of its model: the one it was promised, else what another job of its tenant was
-- (the turn that came for that one brought this one), else, while nobody waits, a free one.
-- Returns false when there is none for it. No cap, or a slot held already: true.
create or replace function headrace.take_model_slot(p_tenant uuid, p_claim uuid, p_job uuid, p_model text)
returns boolean language plpgsql as $$
declare
    v_key constant text := (select headrace.slot_key(null, 'model', p_model) from headrace.concurrency c
                            where c.tenant_id is null and c.scope = 'model' and c.key = p_model);
    v_n integer;
    v_whose uuid;
begin
    if v_key is null or exists (select from headrace.slots s where s.claim_id = p_claim and s.of_tenant = p_tenant and s.cap_key = v_key) then
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
    update headrace.slots s set claim_id = p_claim, of_tenant = p_tenant, promised_to = null, promised_tenant = null, promised_at = null where s.cap_key = v_key and s.n = v_n;
    return v_n is not null;
end $$;

-- A job goes on without what it was promised: it ended, it waits for something else, or it asks another model. The
-- scheduler promises the slot to the next.
create or replace function headrace.break_promise(p_tenant uuid, p_job uuid, p_waits_for text) returns void language sql as $$
    update headrace.slots s set promised_to = null, promised_tenant = null, promised_at = null
    where s.cap_key = substr(p_waits_for, length('slot:') + 1) and s.claim_id is null and s.promised_to = p_job
      and s.promised_tenant = p_tenant;
$$;

-- The same where nobody waits for an answer: the turns go through the scheduler's notes.
create or replace function headrace.free_slots_with_notes(p_tenant uuid, p_claim uuid) returns void language sql as $$
    insert into headrace.wakes (tenant_id, lane)
    select (o ->> 'tenant_id')::uuid, o ->> 'lane' from jsonb_array_elements(headrace.free_slots(p_tenant, p_claim)) o;
$$;

-- The repair of every hint that was lost where jobs wait for a model, and what lets them in when its cap is raised or taken
-- away, of some tenants (release_by_turns); then the slots of models. A model's slot that was promised p_promise_s ago to a job that is still not
-- at work goes to another. p_limit: most that is released at once.
create or replace function headrace.release_for_slots(p_tenants uuid[], p_before text[], p_lists integer, p_limit integer,
                                                      p_within_s double precision, p_promise_s double precision default 30)
returns table (tenant_id uuid, lane text, jobs integer, upto text) language plpgsql as $$
#variable_conflict use_column
declare
    v_key text;
    v_one record;
begin
    return query select * from headrace.release_by_turns('slots', p_tenants, p_before, p_lists, p_limit, p_within_s);
    for v_key in select headrace.slot_key(null, 'model', c.key) from headrace.concurrency c where c.tenant_id is null and c.scope = 'model' order by c.key loop
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

-- Of one tenant: that it waits for a model's slots; where that model has no cap any more, the jobs are let in. What waits for a
-- slot of a lane or a feature is queued: the sweep offers its turns.
create or replace function headrace.release_for_slots_of(p_tenant uuid, p_before text, p_lists integer, p_limit integer)
returns jsonb language plpgsql as $$
declare
    v_list record;
    v_key text;
    q headrace.queue;
    v_turns jsonb := '{}';
    v_upto text;
begin
    for v_list in select * from headrace.waiting_lists(p_tenant, array['slot'], p_before, p_lists) loop
        if v_list.waits_for is null then
            v_upto := v_list.looked_to;
            exit;
        end if;
        v_key := substr(v_list.waits_for, length('slot:') + 1);
        if exists (select from headrace.concurrency c where c.tenant_id is null
                   and c.scope = 'model' and c.key = substr(v_key, length('model:') + 1)) then
            perform headrace.waits_for_model(p_tenant, v_key);
            continue;
        end if;
        for q in select * from headrace.first_waiting(p_tenant, v_list.waits_for, p_limit) loop  -- there is no cap any more
            perform headrace.release_one(q);
            v_turns := headrace.one_more(v_turns, q.lane);
        end loop;
    end loop;
    return jsonb_build_object('turns', v_turns, 'upto', v_upto);
end $$;

-- Set a cap (p_slots null: take it away) and say who did it; in effect at once. p_burst null: as it is. What runs already holds a slot from now on:
-- a cap below that number lets nothing in until enough have ended. Returns false when there is no such tenant.
-- Locks: the tenant's claims are kept out; then queue rows of what runs, by id; then the cap's slots, by number.
create or replace function headrace.set_concurrency(p_tenant uuid, p_scope text, p_key text, p_slots integer, p_burst boolean,
                                                    p_actor text)
returns boolean language plpgsql as $$
declare
    v_key constant text := headrace.slot_key(p_tenant, p_scope, p_key);
    v_before integer;
    v_burst boolean;
    v_have integer;
    v_gone integer;
begin
    if p_tenant is not null and not exists (select from headrace.tenants t where t.id = p_tenant) then
        return false;
    end if;
    perform headrace.change_caps(p_tenant);
    select c.slots, c.burst into v_before, v_burst from headrace.concurrency c
    where c.tenant_id is not distinct from p_tenant and c.scope = p_scope and c.key = p_key;

    if p_slots is null then
        delete from headrace.concurrency c
        where c.tenant_id is not distinct from p_tenant and c.scope = p_scope and c.key = p_key;
        delete from headrace.slots s where s.cap_key = v_key;
        delete from headrace.slot_shares h where h.cap_key = v_key;
    else
        insert into headrace.concurrency as c (tenant_id, scope, key, slots, burst)
        values (p_tenant, p_scope, p_key, p_slots, coalesce(p_burst, v_burst, false))
        on conflict (tenant_id, scope, key) do update set slots = excluded.slots, burst = excluded.burst;
        if v_before is null then
            insert into headrace.slots (cap_key, n, claim_id, of_tenant)
            select v_key, row_number() over () - 1, r.claim_id, p_tenant from (
                select q.claim_id from headrace.queue q
                where q.tenant_id = p_tenant and q.state = 'running'
                  and (p_scope = 'lane' and q.lane = p_key or p_scope = 'feature' and q.feature = p_key)
                order by q.id for update) r;
            -- of a model: whoever has a call under way
            insert into headrace.slots (cap_key, n, claim_id, of_tenant)
            select v_key, row_number() over () - 1, r.claim_id, r.tenant_id from (
                select q.claim_id, q.tenant_id from headrace.queue q
                where p_scope = 'model' and q.state = 'running' and exists (
                    select from headrace.runs u where u.job_id = q.id and u.tenant_id = q.tenant_id and u.claim_id = q.claim_id
                      and u.status = 'started' and u.provider || ':' || u.model = p_key)
                order by q.id for update) r;
        end if;
        perform from headrace.slots s where s.cap_key = v_key order by s.n for update;
        delete from headrace.slots s where s.cap_key = v_key and s.lent and s.claim_id is null;
        update headrace.slots s set retired = false, lent = false where s.cap_key = v_key and (s.retired or s.lent);
        v_have := (select count(*) from headrace.slots s where s.cap_key = v_key);
        insert into headrace.slots (cap_key, n)
        select v_key, g.n from generate_series(0, p_slots + v_have) g(n)
        where not exists (select from headrace.slots s where s.cap_key = v_key and s.n = g.n)
        order by g.n limit greatest(p_slots - v_have, 0);
        -- too many: the free ones go now, the others when they are let go
        delete from headrace.slots s using (
            select f.n from headrace.slots f where f.cap_key = v_key and f.claim_id is null
            order by f.promised_to is not null, f.n desc limit greatest(v_have - p_slots, 0)) f
        where s.cap_key = v_key and s.n = f.n;
        get diagnostics v_gone = row_count;
        update headrace.slots s set retired = true from (
            select t.n from headrace.slots t where t.cap_key = v_key
            order by t.n desc limit greatest(v_have - p_slots - v_gone, 0)) t
        where s.cap_key = v_key and s.n = t.n;
    end if;

    if p_scope = 'lane' then  -- those that claims left where they were
        insert into headrace.wakes (tenant_id, lane) select p_tenant, p_key from generate_series(1, least(coalesce(p_slots, 64), 64));
    elsif p_scope = 'feature' then
        insert into headrace.wakes (tenant_id, lane)
        select p_tenant, l.name from headrace.lanes l cross join lateral (
            select from headrace.queue x
            where x.tenant_id = p_tenant and x.lane = l.name and x.feature between p_key and p_key and x.state = 'queued' order by x.feature, x.rank, x.id limit 1) x
        cross join generate_series(1, least(coalesce(p_slots, 64), 64));
    end if;
    insert into headrace.audit (tenant_id, actor, action, target, before, after)
    values (p_tenant, p_actor, 'limits.set_concurrency', p_scope || ':' || p_key,
            case when v_burst then jsonb_build_object('slots', v_before, 'burst', true) else to_jsonb(v_before) end,
            case when p_slots is not null and coalesce(p_burst, v_burst) then jsonb_build_object('slots', p_slots, 'burst', true)
                 else to_jsonb(p_slots) end);
    return true;
end $$;
