-- Set a cap (p_slots null: take it away) and say who did it; in effect at once. p_burst null: as it is. What runs
-- already holds a slot from now on: a cap below that number lets nothing in until enough have ended. Returns false when
-- there is no such tenant.
-- Locks: the tenant's claims are kept out; then queue rows of what runs, by id; then the cap's slots, by number.
create or replace function headrace.set_concurrency(
    p_tenant uuid, p_scope text, p_key text, p_slots integer, p_burst boolean, p_actor text)
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
                    select from headrace.runs u where u.job_id = q.id and u.tenant_id = q.tenant_id
                        and u.claim_id = q.claim_id
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
        insert into headrace.wakes (tenant_id, lane) select p_tenant, p_key
            from generate_series(1, least(coalesce(p_slots, 64), 64));
    elsif p_scope = 'feature' then
        insert into headrace.wakes (tenant_id, lane)
        select p_tenant, l.name from headrace.lanes l cross join lateral (
            select from headrace.queue x
            where x.tenant_id = p_tenant and x.lane = l.name and x.feature between p_key and p_key
              and x.state = 'queued' order by x.feature, x.rank, x.id limit 1) x
        cross join generate_series(1, least(coalesce(p_slots, 64), 64));
    end if;
    insert into headrace.audit (tenant_id, actor, action, target, before, after)
    values (p_tenant, p_actor, 'limits.set_concurrency', p_scope || ':' || p_key,
            case when v_burst then jsonb_build_object('slots', v_before, 'burst', true) else to_jsonb(v_before) end,
            case when p_slots is not null and coalesce(p_burst, v_burst)
                then jsonb_build_object('slots', p_slots, 'burst', true)
                 else to_jsonb(p_slots) end);
    return true;
end $$;
