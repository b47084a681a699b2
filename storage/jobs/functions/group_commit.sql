-- The group commit: claims, begins and settles of one tenant or several in one transaction, so with one flush and one
-- round trip. Each step is what `claim`, `begin` or `settle` does alone, with the same identity, and safe to repeat.
--
-- p_steps: [{"do": "claim", "tenant_id", "lane", "claim_id", "worker_id", "timeout_s", "turns_per_tenant", "repeat"},
-- …], or a step as group_commit_of_tenant takes it, with its "tenant_id". Returns a row a step, by its place (from 0):
-- `claimed`, the row of a claim, null when there was nothing to claim; the rest as group_commit_of_tenant does.
-- Locks: the claims of all tenants first, which wait for no row; then group_commit_of_tenant. So no tenant's caps are
-- held while a claim of another one looks for its job. In each the tenants go in the order of their ids.
--
-- p_wait false: raises, and so does nothing, where the tenants had better go apart. That is when a lock is not to be
-- had at once (55P03), since no tenant shall wait for what another transaction holds; and when there is a cap of a
-- model (HR409), whose slots are handed from tenant to tenant and so have no such order.
create or replace function headrace.group_commit(p_steps jsonb, p_wait boolean)
returns table (
    place integer, claimed jsonb, settled text, offers jsonb, verdict text, reserved_usd numeric,
    max_output_tokens integer, cap_scope text, cap_key text, limit_usd numeric, spent_usd numeric,
    others_reserved_usd numeric, room_at timestamptz, remaining_s double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_caller constant text := headrace.act_as(null);
    t record;
    s record;
begin
    if not p_wait then
        perform set_config('lock_timeout', '100ms', true);
    end if;
    perform headrace.hold_caps(null);  -- as begin does, before any row
    -- as claim does: a guard is shared, so it too comes before anybody's row
    perform headrace.hold_caps(c.tenant_id) from (
        select distinct (x.step ->> 'tenant_id')::uuid as tenant_id from jsonb_array_elements(p_steps) x(step)
        where x.step ->> 'do' = 'claim' order by 1) c;
    if (select count(distinct x.step ->> 'tenant_id') from jsonb_array_elements(p_steps) x(step)) > 1 then
        if v_caller = '' then  -- whoever is any tenant may read the caps of models
            perform set_config('app.tenant_id', p_steps -> 0 ->> 'tenant_id', true);
        end if;
        if exists (select from headrace.concurrency c where c.tenant_id is null) then
            raise exception 'a model has a cap: tenants go apart' using errcode = 'HR409';
        end if;
    end if;
    for s in select x.step, x.nth - 1 as place, (x.step ->> 'tenant_id')::uuid as tenant_id
             from jsonb_array_elements(p_steps) with ordinality x(step, nth)
             where x.step ->> 'do' = 'claim' order by 3, x.nth loop
        if v_caller = '' then
            perform set_config('app.tenant_id', s.tenant_id::text, true);
        end if;
        return query
        select s.place::integer, (
            select to_jsonb(c) from headrace.claim(
                s.tenant_id, s.step ->> 'lane', (s.step ->> 'claim_id')::uuid, (s.step ->> 'worker_id')::uuid,
                (s.step ->> 'timeout_s')::double precision, (s.step ->> 'turns_per_tenant')::integer,
                (s.step ->> 'repeat')::boolean) c),
            null::text, null::jsonb, null::text, null::numeric, null::integer, null::text, null::text, null::numeric,
            null::numeric,
            null::numeric, null::timestamptz, null::double precision;
    end loop;
    for t in
        select (x.step ->> 'tenant_id')::uuid as id, jsonb_agg(x.step order by x.nth) as steps,
               array_agg((x.nth - 1)::integer order by x.nth) as places
        from jsonb_array_elements(p_steps) with ordinality x(step, nth)
        where x.step ->> 'do' <> 'claim' group by 1 order by 1
    loop
        if v_caller = '' then
            perform set_config('app.tenant_id', t.id::text, true);
        end if;
        return query
        select t.places[k.place + 1], null::jsonb, k.settled, k.offers, k.verdict, k.reserved_usd, k.max_output_tokens,
               k.cap_scope,
               k.cap_key, k.limit_usd, k.spent_usd, k.others_reserved_usd, k.room_at, k.remaining_s
        from headrace.group_commit_of_tenant(t.id, t.steps) k;
    end loop;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
