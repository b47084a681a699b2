-- Enqueue many jobs of one tenant in one statement each for checks, keys, jobs and queue: the one code path of every
-- way in. Bad rows are returned with field and reason, good ones go in beside them.
--
-- p_jobs: [{"id", "user_id", "feature", "prompt" | "messages", "variables", "context", "output_schema",
--           "max_output_tokens", "estimated_tokens", "lane", "idempotency_key", "run_at", "deadline",
--           "on_over_budget", "on_unknown", "force_tier", "metadata"}, …]
-- Identity: the id (same id: nothing happens, even if by now it would be refused for its deadline) and the idempotency
-- key (same key and body: the first job's id; another body: idempotency_conflict). The body is what is asked of the model,
-- not when: id, key, run_at, deadline and the estimate do not count. Keys are inserted in their order, so two bulks cannot
-- deadlock.
-- p_wake: leave a note for the scheduler (for transactions whose commit we do not see), and signal it where something may
-- run at once; else the caller offers turns.
create or replace function headrace.enqueue_batch(p_tenant uuid, p_jobs jsonb, p_wake boolean)
returns table (index integer, job_id uuid, created boolean, lane text, error jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_now timestamptz := headrace.now();
    v_rows headrace.job_request[];
    v_refused integer;
    v_keys integer;
    v_born uuid[];
    v_foreign boolean;
begin
    if not exists (select from headrace.tenants where id = p_tenant) then
        return query select i - 1, null::uuid, false, null::text, jsonb_build_object(
            'code', 'unknown_tenant', 'field', 'tenant_id', 'value', p_tenant, 'message', 'no such tenant')
        from generate_series(1, jsonb_array_length(p_jobs)) i;
        perform set_config('app.tenant_id', v_caller, true);
        return;
    end if;

    -- (1) decode and check. What cannot be decoded is quoted by Postgres's own messages, and those go into its log.
    begin
    with asked as materialized (
        select e.ordinality, e.value, x.* from jsonb_array_elements(p_jobs) with ordinality g(given, ordinality)
        cross join lateral (select headrace.with_composed_names(g.given) as value, g.ordinality) e
        cross join lateral jsonb_to_record(e.value) as x(
            id uuid, user_id text, feature text, lane text, prompt text, variables jsonb, messages jsonb, context jsonb,
            output_schema jsonb, max_output_tokens integer, estimated_tokens bigint, run_at timestamptz,
            deadline timestamptz, on_over_budget text, on_unknown text, force_tier text, metadata jsonb,
            idempotency_key text)
    ),
    prompts as materialized (
        select n.prompt, headrace.declared_variables(p_tenant, n.prompt) as declared
        from (select distinct a.prompt from asked a where a.prompt is not null) n
    )
    select array_agg(row(r.ordinality::integer - 1, coalesce(r.id, uuidv7()), r.user_id, r.feature, coalesce(r.lane, 'interactive'),
               r.prompt, case when r.prompt is not null then coalesce(r.variables, '{}') end, r.messages, r.context,
               r.output_schema, r.max_output_tokens,
               -- what a caller says is believed within reason: an absurd figure would shut its user out for good
               least(greatest(coalesce(r.estimated_tokens, 1 + octet_length(coalesce(r.messages, r.variables, '{}')::text) / 3
                        + least(r.max_output_tokens, 500)), 1), 100000000),
               r.run_at, r.deadline, coalesce(r.on_over_budget, 'fail'), coalesce(r.on_unknown, 'retry'), r.force_tier,
               coalesce(r.metadata, '{}'), r.idempotency_key,
               case when r.idempotency_key is not null then headrace.body_hash(r.value) end, f.error
           )::headrace.job_request order by r.ordinality),
           count(f.error), count(r.idempotency_key)
    into v_rows, v_refused, v_keys
    from asked r left join prompts p on p.prompt = r.prompt
    left join headrace.features k on k.name = r.feature and k.retired_at is null
    left join headrace.lanes l on l.name = coalesce(r.lane, 'interactive') and l.retired_at is null
    cross join lateral (select coalesce(headrace.request_error(r.id, r.user_id, r.feature, k.name is not null, r.lane,
        l.name is not null, r.prompt, p.declared, r.variables,
        r.messages, r.context, r.output_schema, r.max_output_tokens, r.run_at, r.deadline, r.on_over_budget,
        r.on_unknown, r.force_tier, r.metadata, r.idempotency_key, v_now),
        headrace.over_feature_limit(r.feature, k.max_input_chars, r.messages, r.variables)) as error) f;
    exception when data_exception then
        perform headrace.refuse(headrace.refusal('invalid_input', 'request', null, 'a field is not of its type'));
    end;

    if v_refused > 0 then  -- what is in already stays in, whatever would be said of it by now
        return query
        select r.index, null::uuid, false, null::text,
               -- what there is, beside the first ten: a bulk of unknown names must not cost its square
               case when row_number() over (order by r.index) <= 10 then headrace.with_known_names(p_tenant, r.error) else r.error end
        from unnest(v_rows) r
        where r.error is not null and not exists (select from headrace.jobs j where j.id = r.id and j.tenant_id = p_tenant);
        v_rows := array(
            select r from unnest(v_rows) r
            where r.error is null or exists (select from headrace.jobs j where j.id = r.id and j.tenant_id = p_tenant)
            order by r.index);
    end if;

    -- (2) keys: whoever comes first owns it; in the keys' order
    if v_keys > 0 then
        insert into headrace.idempotency (tenant_id, key, job_id, body_hash, created_at)
        select p_tenant, r.idempotency_key, r.id, r.body_hash, v_now
        from unnest(v_rows) r where r.idempotency_key is not null
        order by r.idempotency_key, r.index
        on conflict do nothing;
        return query
        select r.index, case when i.body_hash = r.body_hash then i.job_id end, false, null::text,
               case when i.body_hash <> r.body_hash then
                   headrace.refusal('idempotency_conflict', 'idempotency_key', r.idempotency_key,
                       'the key was used before with another request') || jsonb_build_object('job_id', i.job_id) end
        from unnest(v_rows) r
        join headrace.idempotency i on i.tenant_id = p_tenant and i.key = r.idempotency_key
        where i.job_id <> r.id;
        v_rows := array(
            select r from unnest(v_rows) r
            where not exists (
                select from headrace.idempotency i
                where i.tenant_id = p_tenant and i.key = r.idempotency_key and i.job_id <> r.id)
            order by r.index);
    end if;

    -- (3) jobs: those that are not there yet
    with born as (
        insert into headrace.jobs (id, tenant_id, user_id, feature, lane, prompt, variables, messages, context,
            output_schema, max_output_tokens, estimated_tokens, run_at, deadline, on_over_budget, on_unknown,
            force_tier, metadata, idempotency_key, created_at)
        select r.id, p_tenant, r.user_id, r.feature, r.lane, r.prompt, r.variables, r.messages, r.context,
            r.output_schema, r.max_output_tokens, r.estimated_tokens, r.run_at, r.deadline, r.on_over_budget,
            r.on_unknown, r.force_tier, r.metadata, r.idempotency_key, v_now
        from unnest(v_rows) r
        on conflict do nothing
        returning id
    )
    select array_agg(b.id) into v_born from born b;

    if p_wake then
        insert into headrace.wakes (tenant_id, lane)
        select p_tenant, r.lane from unnest(v_rows) r group by r.lane;
        if exists (select from unnest(v_rows) r where (r.run_at > v_now) is not true) then
            perform headrace.signal_wake();
        end if;
    end if;

    -- (4) those that were in before get their turn too: the repeat is there because an answer was lost
    if cardinality(v_born) is distinct from cardinality(v_rows) then
        -- What is neither new nor this tenant's has the id of another tenant's job: all is undone.
        v_foreign := exists (
            select from unnest(v_rows) r where (r.id in (select unnest(v_born))) is not true
              and not exists (select from headrace.jobs j where j.id = r.id and j.tenant_id = p_tenant));
        if v_foreign then perform headrace.refuse(headrace.id_refusal()); end if;
        return query
        select r.index, r.id, false,
               (select q.lane from headrace.queue q where q.id = r.id and q.tenant_id = p_tenant and q.state = 'queued'),
               null::jsonb
        from unnest(v_rows) r where (r.id in (select unnest(v_born))) is not true;
        v_rows := array(select r from unnest(v_rows) r where (r.id in (select unnest(v_born))) is true order by r.index);
    end if;

    -- (5) queue rows for those that are new; ranks as queue_rank() gives them, one after the other
    insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, reason, rank, estimated_tokens,
                                run_at, deadline, created_at)
    select f.id, p_tenant, f.lane, f.user_id, f.feature,
           case when f.later then 'scheduled' else 'queued' end, case when f.later then 'asked_for' end,
           first_value(f.tag) over w + f.behind, f.estimated_tokens, case when f.later then f.run_at end, f.deadline, v_now
    from (select r.*, r.run_at > v_now as later,
                 sum(r.estimated_tokens) over w - first_value(r.estimated_tokens) over w as behind,
                 case when (r.run_at > v_now) is not true and row_number() over w = 1
                      then headrace.queue_rank(p_tenant, r.lane, r.user_id, r.estimated_tokens) end as tag
          from unnest(v_rows) r
          window w as (partition by r.lane, r.user_id, r.run_at > v_now order by r.index)) f
    window w as (partition by f.lane, f.user_id, f.later order by f.index);

    return query
    select r.index, r.id, true, case when (r.run_at > v_now) is not true then r.lane end, null::jsonb
    from unnest(v_rows) r;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
