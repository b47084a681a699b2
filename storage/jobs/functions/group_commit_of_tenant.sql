-- The part of a group commit that is one tenant's: several begins and settles in one transaction, so that a busy
-- tenant's caps are locked and its commits are flushed once for many calls. Each step is what `begin` or `settle` does
-- alone, with the same identity, and safe to repeat. Settles come first, since they make room.
--
-- p_steps: [{"do": "begin", "job_id", "claim_id", "run_id", …begin's arguments}, {"do": "settle", "job_id", "claim_id",
-- "run", "verdict", "outcome"}, …]. Returns a row a step, by its place (from 0): `settled` and `offers` of a
-- settle, the rest of a begin.
-- Locks: every queue row and every run that a step will touch first, each kind by id; then caps, in the order that all
-- transactions keep.
create or replace function headrace.group_commit_of_tenant(p_tenant uuid, p_steps jsonb)
returns table (
    place integer, settled text, offers jsonb, verdict text, reserved_usd numeric, max_output_tokens integer,
    cap_scope text, cap_key text, limit_usd numeric, spent_usd numeric, others_reserved_usd numeric,
    room_at timestamptz, remaining_s double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_jobs uuid[];
    v_runs uuid[];
    s record;
begin
    perform headrace.hold_caps(null);  -- as begin does, before any row
    if jsonb_array_length(p_steps) > 1 then  -- one alone takes its own, in everybody's order
        select array_agg(distinct (x.step ->> 'job_id')::uuid) into v_jobs from jsonb_array_elements(p_steps) x(step);
        perform from headrace.queue q where q.tenant_id = p_tenant and q.id = any (v_jobs) order by q.id for update;
        v_runs := array(
            select (x.step -> 'run' ->> 'id')::uuid from jsonb_array_elements(p_steps) x(step)
            where x.step ->> 'do' = 'settle'
            union
            select r.id from headrace.runs r
            where r.tenant_id = p_tenant and r.status = 'started' and r.job_id = any (v_jobs));
        perform from headrace.runs r where r.tenant_id = p_tenant and r.id = any (v_runs) order by r.id
            for no key update;
    end if;

    for s in select (x.nth - 1)::integer as place, x.step
        from jsonb_array_elements(p_steps) with ordinality x(step, nth)
             order by x.step ->> 'do' = 'begin', x.nth loop
        if s.step ->> 'do' = 'settle' then
            return query select s.place, d.settled, d.offers,
                null::text, null::numeric, null::integer, null::text, null::text, null::numeric, null::numeric,
                null::numeric,
                null::timestamptz, null::double precision
            from headrace.settle(p_tenant, (s.step ->> 'job_id')::uuid, (s.step ->> 'claim_id')::uuid,
                nullif(s.step -> 'run', 'null'), s.step ->> 'verdict', s.step -> 'outcome') d;
        else
            return query select s.place, null::text, null::jsonb, b.verdict, b.reserved_usd, b.max_output_tokens,
                b.cap_scope, b.cap_key,
                   b.limit_usd, b.spent_usd, b.others_reserved_usd, b.room_at, b.remaining_s
            from headrace.begin(p_tenant, (s.step ->> 'job_id')::uuid, (s.step ->> 'claim_id')::uuid,
                (s.step ->> 'run_id')::uuid, s.step ->> 'kind', s.step ->> 'provider', s.step ->> 'model',
                s.step ->> 'tier',
                s.step ->> 'route_rule', (s.step ->> 'fallback')::boolean, (s.step ->> 'input_bound')::bigint,
                (s.step ->> 'max_output_tokens')::integer, (s.step ->> 'min_output_tokens')::integer,
                (s.step ->> 'prompt_id')::uuid, s.step ->> 'key_owner', s.step -> 'later', s.step ->> 'processing') b;
        end if;
    end loop;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
