-- select headrace.enqueue(…): the way in for any service in any language, inside its own transaction: the job exists
-- if and only if that transaction commits. Returns the job id. A refused request raises: sqlstate HR400, the message
-- names field and reason, DETAIL is JSON {"code", "field", "length", "message"}. Both are written into Postgres's log,
-- so neither holds any text of the caller's, only its length; `value` is there for numbers, times and the tenant's id,
-- and says how much too long. A login that is bound to tenants (producer_bindings) may enqueue for those alone.
-- Runs as headrace_owner (tenant-bound by policy like everybody), with the caller's app.tenant_id restored on return.
create or replace function headrace.enqueue(
    tenant_id uuid, user_id text, feature text, prompt text default null, variables jsonb default null,
    messages jsonb default null, context jsonb default null, output_schema jsonb default null,
    max_output_tokens integer default null, lane text default 'interactive', idempotency_key text default null,
    run_at timestamptz default null, deadline timestamptz default null, on_over_budget text default 'fail',
    on_unknown text default 'retry', force_tier text default null, metadata jsonb default null, id uuid default null,
    estimated_tokens bigint default null)
returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp set app.tenant_id = '' as $$
declare
    r record;
    v_error jsonb;
begin
    -- as they lie in memory, before anything is built of them: a text of 400,000 bytes can take ten times that as jsonb
    if coalesce(pg_column_size(variables), 0) + coalesce(pg_column_size(messages), 0)
       + coalesce(pg_column_size(context), 0) + coalesce(pg_column_size(output_schema), 0)
       + coalesce(pg_column_size(metadata), 0) + coalesce(pg_column_size(user_id), 0)
       + coalesce(pg_column_size(feature), 0) + coalesce(pg_column_size(prompt), 0)
       + coalesce(pg_column_size(lane), 0) + coalesce(pg_column_size(idempotency_key), 0)
       > 20 * headrace.max_input_bytes() then
        perform headrace.refuse(headrace.refusal('too_long', 'request', null,
            format('the whole input is over the cap of %s bytes', headrace.max_input_bytes())));
    end if;
    if headrace.is_shut_out(enqueue.tenant_id) then
        -- as a tenant that there is not, to which every other one is not there
        perform set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);
    end if;
    select * into strict r from headrace.enqueue_batch(enqueue.tenant_id, jsonb_build_array(jsonb_strip_nulls(
        jsonb_build_object('id', id, 'user_id', user_id, 'feature', feature, 'prompt', prompt, 'lane', lane,
            'max_output_tokens', max_output_tokens, 'idempotency_key', idempotency_key, 'run_at', run_at,
            'deadline', deadline, 'on_over_budget', on_over_budget, 'on_unknown', on_unknown, 'force_tier', force_tier,
            'estimated_tokens', estimated_tokens))
        || case when variables is null then '{}' else jsonb_build_object('variables', variables) end
        || case when messages is null then '{}' else jsonb_build_object('messages', messages) end
        || case when context is null then '{}' else jsonb_build_object('context', context) end
        || case when output_schema is null then '{}' else jsonb_build_object('output_schema', output_schema) end
        || case when metadata is null then '{}' else jsonb_build_object('metadata', metadata) end), true);
    if r.error is not null then
        v_error := case when r.error ->> 'code' = 'too_long'  -- the fields hold no text by their type
                         or r.error ->> 'field' in ('tenant_id', 'max_output_tokens', 'run_at', 'deadline')
                        then r.error - 'length' else r.error - 'value' end;
        if r.error ->> 'code' = 'extra_variable' then  -- its name is the caller's text too
            v_error := v_error || '{"field": "variables"}';
        end if;
        perform headrace.refuse(v_error);
    end if;
    return r.job_id;
end $$;
