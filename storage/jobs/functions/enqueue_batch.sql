-- Enqueue many jobs of one tenant in one statement each for checks, keys, jobs and queue: the one code path of every
-- way in. Bad rows are returned with field and reason, good ones go in beside them.
--
-- p_jobs: [an object with the fields of headrace.job_request, without tenant_id and created_at, …].
-- Identity: the id (same id: nothing happens, even if by now it would be refused for its deadline) and the idempotency
-- key (same key and body: the first job's id; another body: idempotency_conflict). The body is what is asked of the
-- model,
-- not when: id, key, run_at, deadline and the estimate do not count. Keys are inserted in their order, so two bulks
-- cannot deadlock.
-- p_wake: leave a note for the scheduler (for transactions whose commit we do not see), and signal it where something
-- may run at once; else the caller offers turns.
create or replace function headrace.enqueue_batch(p_tenant uuid, p_jobs jsonb, p_wake boolean)
returns table (index integer, job_id uuid, created boolean, lane text, error jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_now timestamptz := headrace.now();
    v_rows headrace.checked_request[];
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
        select e.ordinality::integer - 1 as index, e.value,
               jsonb_populate_record(null::headrace.job_request, e.value) as request
        from jsonb_array_elements(p_jobs) with ordinality g(given, ordinality)
        cross join lateral (select headrace.with_composed_names(g.given) as value, g.ordinality) e
    ),
    prompts as materialized (
        select n.prompt, m.variables as declared
        from (select distinct (a.request).prompt from asked a where (a.request).prompt is not null) n
        cross join lateral headrace.active_prompt(p_tenant, n.prompt) v
        join headrace.prompts m on m.id = v.prompt_id and (m.tenant_id = p_tenant or m.tenant_id is null)
    )
    select array_agg(row(a.index, headrace.as_kept(a.request, p_tenant, v_now),
               case when (a.request).idempotency_key is not null then headrace.body_hash(a.value) end, f.error
           )::headrace.checked_request order by a.index),
           count(f.error), count((a.request).idempotency_key)
    into v_rows, v_refused, v_keys
    from asked a
    left join prompts p on p.prompt = (a.request).prompt
    left join headrace.features k on k.name = (a.request).feature and k.retired_at is null
    left join headrace.lanes l on l.name = coalesce((a.request).lane, 'interactive') and l.retired_at is null
    cross join lateral (select coalesce(
        headrace.request_error(a.request, k.name is not null, l.name is not null, p.declared, v_now),
        headrace.over_feature_limit(k.name, k.max_input_chars, (a.request).messages, (a.request).variables)
        ) as error) f;
    exception when data_exception then
        perform headrace.refuse(headrace.refusal('invalid_input', 'request', null, 'a field is not of its type'));
    end;

    if v_refused > 0 then  -- what is in already stays in, whatever would be said of it by now
        return query
        select c.index, null::uuid, false, null::text,
               -- what there is, beside the first ten: a bulk of unknown names must not cost its square
               case when row_number() over (order by c.index) <= 10 then headrace.with_known_names(p_tenant, c.error)
                    else c.error end
        from unnest(v_rows) c
        where c.error is not null
          and not exists (select from headrace.jobs j where j.id = (c.request).id and j.tenant_id = p_tenant);
        v_rows := array(
            select c from unnest(v_rows) c
            where c.error is null
               or exists (select from headrace.jobs j where j.id = (c.request).id and j.tenant_id = p_tenant)
            order by c.index);
    end if;

    -- (2) keys: the first job of a key owns it; in the keys' order
    if v_keys > 0 then
        insert into headrace.idempotency (tenant_id, key, job_id, body_hash, created_at)
        select p_tenant, (c.request).idempotency_key, (c.request).id, c.body_hash, v_now
        from unnest(v_rows) c where c.body_hash is not null
        order by (c.request).idempotency_key, c.index
        on conflict do nothing;
        return query
        select c.index, case when i.body_hash = c.body_hash then i.job_id end, false, null::text,
               case when i.body_hash <> c.body_hash then
                   headrace.refusal('idempotency_conflict', 'idempotency_key', i.key,
                       'the key was used before with another request') || jsonb_build_object('job_id', i.job_id) end
        from unnest(v_rows) c
        join headrace.idempotency i on i.tenant_id = p_tenant and i.key = (c.request).idempotency_key
        where i.job_id <> (c.request).id;
        v_rows := array(
            select c from unnest(v_rows) c
            where not exists (
                select from headrace.idempotency i
                where i.tenant_id = p_tenant and i.key = (c.request).idempotency_key and i.job_id <> (c.request).id)
            order by c.index);
    end if;

    -- (3) jobs: those that are not there yet
    with born as (
        insert into headrace.job_request select (c.request).* from unnest(v_rows) c
        on conflict do nothing
        returning id
    )
    select array_agg(b.id) into v_born from born b;

    if p_wake then
        insert into headrace.wakes (tenant_id, lane)
        select p_tenant, (c.request).lane from unnest(v_rows) c group by (c.request).lane;
        if exists (select from unnest(v_rows) c where ((c.request).run_at > v_now) is not true) then
            perform headrace.signal_wake();
        end if;
    end if;

    -- (4) those that were in before get their turn too: the repeat is there because an answer was lost
    if cardinality(v_born) is distinct from cardinality(v_rows) then
        -- What is neither new nor this tenant's has the id of another tenant's job: all is undone.
        v_foreign := exists (
            select from unnest(v_rows) c where ((c.request).id in (select unnest(v_born))) is not true
              and not exists (select from headrace.jobs j where j.id = (c.request).id and j.tenant_id = p_tenant));
        if v_foreign then perform headrace.refuse(headrace.id_refusal()); end if;
        return query
        select c.index, (c.request).id, false,
               (select q.lane from headrace.queue q
                where q.id = (c.request).id and q.tenant_id = p_tenant and q.state = 'queued'), null::jsonb
        from unnest(v_rows) c where ((c.request).id in (select unnest(v_born))) is not true;
        v_rows := array(
            select c from unnest(v_rows) c where ((c.request).id in (select unnest(v_born))) is true order by c.index);
    end if;

    -- (5) queue rows for those that are new; ranks as queue_rank() gives them, one after the other
    insert into headrace.queue (id, tenant_id, lane, user_id, feature, state, reason, rank, estimated_tokens, run_at,
                                deadline, created_at)
    select f.id, p_tenant, f.lane, f.user_id, f.feature,
           case when f.later then 'scheduled' else 'queued' end, case when f.later then 'asked_for' end,
           first_value(f.tag) over w + f.behind, f.estimated_tokens, case when f.later then f.run_at end,
           f.deadline, v_now
    from (select c.index, r.*, r.run_at > v_now as later,
                 sum(r.estimated_tokens) over w - first_value(r.estimated_tokens) over w as behind,
                 case when (r.run_at > v_now) is not true and row_number() over w = 1
                      then headrace.queue_rank(p_tenant, r.lane, r.user_id, r.estimated_tokens) end as tag
          from unnest(v_rows) c cross join lateral (select (c.request).*) r
          window w as (partition by r.lane, r.user_id, r.run_at > v_now order by c.index)) f
    window w as (partition by f.lane, f.user_id, f.later order by f.index);

    return query
    select c.index, (c.request).id, true, case when ((c.request).run_at > v_now) is not true then (c.request).lane end,
           null::jsonb
    from unnest(v_rows) c;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
