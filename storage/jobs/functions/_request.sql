-- What enqueue_batch holds while it works: one decoded request, with the reason why it is refused (null: it is fine).
do $$ begin
    if to_regtype('headrace.job_request') is null then
        create type headrace.job_request as (
            index integer, id uuid, user_id text, feature text, lane text, prompt text, variables jsonb, messages jsonb,
            context jsonb, output_schema jsonb, max_output_tokens integer, estimated_tokens bigint, run_at timestamptz,
            deadline timestamptz, on_over_budget text, on_unknown text, force_tier text, metadata jsonb,
            idempotency_key text, body_hash bytea, error jsonb);
    end if;
end $$;

-- One refusal. Whatever is raised with it is written into Postgres's log: see enqueue().
create or replace function headrace.refusal(code text, field text, value text, message text) returns jsonb
language sql immutable
return jsonb_strip_nulls(jsonb_build_object('code', code, 'field', field, 'value', left(value, 200), 'length', length(value), 'message', message));

-- What the prompt of that name declares to this tenant, {"variable": cap in characters}; null: there is no such prompt.
create or replace function headrace.declared_variables(p_tenant uuid, p_prompt text) returns jsonb language sql stable
return (select m.variables from headrace.prompt_pointers o join headrace.prompts m on m.id = o.prompt_id and m.of_whom = o.prompt_of_whom
        where o.name = p_prompt and (o.tenant_id = p_tenant or o.tenant_id is null)
        order by o.tenant_id nulls last limit 1);

-- The cap on one job's input, UTF-8 bytes (producers/requests.py says the same figure; a test holds them together).
create or replace function headrace.max_input_bytes() returns integer language sql immutable return 400000;

-- Lists and objects in each other, at most 64 levels (guards/cleaning.py says the same): a worker could not read more.
create or replace function headrace.is_too_deep(given jsonb) returns boolean language sql immutable
return coalesce(jsonb_path_exists(given, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")'), false);

-- A number beyond a double: readers refuse it, round it or make it infinite. Behind a test of the text that is cheap and mostly
-- says no, since such a number has hundreds of digits.
create or replace function headrace.holds_huge_number(as_text text, given jsonb) returns boolean language sql immutable
return as_text ~ '[0-9]{255}'
    and jsonb_path_exists(given, 'strict $.** ? (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308)');

-- Times that every language can hold: no infinity, no year beyond four digits (producers/requests.py says the same).
create or replace function headrace.is_usable_time(given timestamptz) returns boolean language sql immutable
return given >= '0001-01-02 00:00:00+00' and given < '9999-12-31 00:00:00+00';

-- How far the time inside a job's id may be ahead of the database's: clocks differ, but partitions are months of ids.
create or replace function headrace.id_ahead() returns interval language sql immutable return interval '10 minutes';

-- Why an id is refused. One answer for each reason, so that it tells nothing about other tenants' ids.
create or replace function headrace.id_refusal() returns jsonb language sql stable
return headrace.refusal('invalid_input', 'id', null,
    'needs a new UUIDv7 of this job alone, made by a clock that is not ahead of the database''s');

-- Why a request is refused: {"code", "field", "value", "length" of the value, "message"}, or null when it is fine. Only `value`
-- and the name of a variable that the prompt does not declare hold the caller's text; enqueue() leaves them out of what
-- Postgres logs. What only Python can check
-- (the output schema is a valid JSON schema) is checked there, and again at claim. p_known_feature and p_known_lane: whether there are such a
-- feature and lane; p_declared: as declared_variables() says of p_prompt. Called for every row of a bulk: plain
-- expressions, which PL/pgSQL evaluates by itself, cost a tenth of statements. Each check costs what the bytes cost that it
-- reads, and nothing is read before its bytes are counted. Ids and names are given composed (names.sql).
create or replace function headrace.request_error(
    p_id uuid, p_user text, p_feature text, p_known_feature boolean, p_lane text, p_known_lane boolean, p_prompt text, p_declared jsonb, p_variables jsonb, p_messages jsonb,
    p_context jsonb, p_output_schema jsonb, p_max_output integer, p_run_at timestamptz, p_deadline timestamptz, p_on_over_budget text,
    p_on_unknown text, p_force_tier text, p_metadata jsonb, p_key text, v_now timestamptz)
returns jsonb language plpgsql stable as $$
declare
    v_context text := p_context;
    v_schema text := p_output_schema;
    v_metadata text := p_metadata;
    v_octets integer;
    v_names text[];
    v_name text;
    v_given jsonb;
    v_message jsonb;
    v_fault text;
begin
    -- version 7, and of no time that is still to come
    if p_id is not null and (uuid_extract_version(p_id) = 7 and uuid_extract_timestamp(p_id) <= v_now + headrace.id_ahead()) is not true then
        return headrace.id_refusal();
    end if;
    v_fault := headrace.name_fault(p_user, 200);
    if v_fault is not null then
        return headrace.refusal('invalid_input', 'user_id', p_user, v_fault);
    end if;
    if not p_known_feature then  -- a name that is known is one
        v_fault := headrace.name_fault(p_feature, 61);
        return case when v_fault is not null then headrace.refusal('invalid_input', 'feature', p_feature, v_fault)
            else headrace.refusal('unknown_feature', 'feature', p_feature, 'no such feature in the routing policy') end;
    end if;
    if not p_known_lane then
        v_fault := headrace.name_fault(p_lane, 31);
        return case when v_fault is not null then headrace.refusal('invalid_input', 'lane', p_lane, v_fault)
            else headrace.refusal('unknown_lane', 'lane', p_lane, 'no such lane') end;
    end if;
    if num_nonnulls(p_prompt, p_messages) <> 1 then
        return headrace.refusal('invalid_input', 'prompt', p_prompt, 'give either prompt (with variables) or messages, not both and not neither');
    end if;
    v_octets := octet_length(coalesce(p_messages, p_variables, '{}')::text) + coalesce(octet_length(v_context), 0)
                + coalesce(octet_length(v_schema), 0);
    if v_octets > headrace.max_input_bytes() then
        return headrace.refusal('too_long', (  -- the largest part of it
                select part.name from (values (octet_length(coalesce(p_messages, p_variables, '{}')::text), case when p_prompt is null then 'messages' else 'variables' end),
                    (octet_length(v_context), 'context'), (octet_length(v_schema), 'output_schema')) part(octets, name)
                order by part.octets desc nulls last limit 1),
            v_octets || ' bytes', format('the whole input is over the cap of %s bytes', headrace.max_input_bytes()));
    end if;
    if octet_length(v_metadata) > 16384 then
        return headrace.refusal('too_long', 'metadata', octet_length(v_metadata) || ' bytes', 'is over the cap of 16384 bytes');
    end if;
    -- what is shorter is neither nested 65 deep nor a number of 309 digits
    if octet_length(v_context) > 128 then
        if headrace.is_too_deep(p_context) then
            return headrace.refusal('invalid_input', 'context', null, 'is nested deeper than 64 levels');
        elsif octet_length(v_context) > 308 and headrace.holds_huge_number(v_context, p_context) then
            return headrace.refusal('invalid_input', 'context', null, 'holds a number beyond 1.7e308');
        end if;
    end if;
    if octet_length(v_schema) > 128 then
        if headrace.is_too_deep(p_output_schema) then
            return headrace.refusal('invalid_schema', 'output_schema', null, 'is nested deeper than 64 levels');
        elsif octet_length(v_schema) > 308 and headrace.holds_huge_number(v_schema, p_output_schema) then
            return headrace.refusal('invalid_schema', 'output_schema', null, 'holds a number beyond 1.7e308');
        end if;
    end if;
    if octet_length(v_metadata) > 128 then
        if headrace.is_too_deep(p_metadata) then
            return headrace.refusal('invalid_input', 'metadata', null, 'is nested deeper than 64 levels');
        elsif octet_length(v_metadata) > 308 and headrace.holds_huge_number(v_metadata, p_metadata) then
            return headrace.refusal('invalid_input', 'metadata', null, 'holds a number beyond 1.7e308');
        end if;
    end if;

    if p_prompt is not null then
        if p_declared is null then
            v_fault := headrace.name_fault(p_prompt, 61);
            return case when v_fault is not null then headrace.refusal('invalid_input', 'prompt', p_prompt, v_fault)
                else headrace.refusal('unknown_prompt', 'prompt', p_prompt, 'no such prompt') end;
        end if;
        v_given := coalesce(p_variables, '{}');
        if jsonb_typeof(v_given) <> 'object' then
            return headrace.refusal('invalid_input', 'variables', null, 'needs an object of name and text');
        end if;
        v_names := array(select jsonb_object_keys(p_declared));
        foreach v_name in array v_names loop
            if not v_given ? v_name then
                return headrace.refusal('missing_variable', 'variables.' || v_name, null, format('prompt %s needs the variable %s', p_prompt, v_name));
            end if;
        end loop;
        if v_given - v_names <> '{}' then
            v_name := (select k from jsonb_object_keys(v_given - v_names) k limit 1);
            return headrace.refusal('extra_variable', 'variables.' || v_name, v_given ->> v_name, format('prompt %s does not declare this variable', p_prompt));
        end if;
        foreach v_name in array v_names loop
            if jsonb_typeof(v_given -> v_name) <> 'string' then
                return headrace.refusal('invalid_input', 'variables.' || v_name, (v_given -> v_name)::text, 'a variable''s value must be text');
            elsif length(v_given ->> v_name) > (p_declared ->> v_name)::integer then
                return headrace.refusal('too_long', 'variables.' || v_name, length(v_given ->> v_name) || ' characters',
                    format('is over the cap of %s characters', p_declared ->> v_name));
            end if;
        end loop;
    else
        if p_variables is not null then
            return headrace.refusal('extra_variable', 'variables', p_variables::text, 'messages take no variables');
        end if;
        if jsonb_typeof(p_messages) <> 'array' or jsonb_array_length(p_messages) = 0 then
            return headrace.refusal('invalid_input', 'messages', null, 'needs a list of at least one {"role", "content"}');
        end if;
        for i in 0 .. jsonb_array_length(p_messages) - 1 loop
            v_message := p_messages -> i;
            if jsonb_typeof(v_message) <> 'object' or (v_message ->> 'role') is null
               or (v_message ->> 'role') not in ('system', 'user', 'assistant') then
                return headrace.refusal('invalid_input', format('messages[%s].role', i),
                    v_message ->> 'role', 'must be system, user or assistant');
            elsif jsonb_typeof(v_message -> 'content') is distinct from 'string' or v_message ->> 'content' = '' then
                return headrace.refusal('invalid_input', format('messages[%s].content', i), v_message ->> 'content',
                    'must be text that is not empty');
            elsif v_message - array['role', 'content'] <> '{}' then
                return headrace.refusal('invalid_input', format('messages[%s]', i),
                    (v_message - array['role', 'content'])::text, 'takes nothing but role and content');
            end if;
        end loop;
        if not p_messages @> '[{"role": "user"}]' then
            return headrace.refusal('invalid_input', 'messages', null, 'needs at least one user message');
        end if;
    end if;

    if p_output_schema is not null and jsonb_typeof(p_output_schema) <> 'object' then
        return headrace.refusal('invalid_schema', 'output_schema', p_output_schema::text, 'must be a JSON schema object');
    elsif p_max_output is not null and p_max_output not between 16 and 200000 then
        return headrace.refusal('invalid_input', 'max_output_tokens', p_max_output::text, 'must be 16 to 200000');
    elsif not headrace.is_usable_time(p_run_at) then
        return headrace.refusal('invalid_input', 'run_at', p_run_at::text, 'must be a time of the years 1 to 9999');
    elsif not headrace.is_usable_time(p_deadline) and p_deadline > v_now then
        return headrace.refusal('invalid_input', 'deadline', p_deadline::text, 'must be a time of the years 1 to 9999');
    elsif p_deadline <= v_now then
        return headrace.refusal('deadline_passed', 'deadline', to_jsonb(p_deadline) #>> '{}', 'the deadline has passed');
    elsif p_on_over_budget not in ('fail', 'wait') then
        return headrace.refusal('invalid_input', 'on_over_budget', p_on_over_budget, 'must be fail or wait');
    elsif p_on_unknown not in ('retry', 'fail') then
        return headrace.refusal('invalid_input', 'on_unknown', p_on_unknown, 'must be retry or fail');
    elsif p_force_tier not in ('cheap', 'strong') then
        return headrace.refusal('invalid_input', 'force_tier', p_force_tier, 'must be cheap or strong');
    elsif p_metadata is not null and jsonb_typeof(p_metadata) <> 'object' then
        return headrace.refusal('invalid_input', 'metadata', p_metadata::text, 'must be an object');
    elsif p_key is not null then
        v_fault := headrace.name_fault(p_key, 200);
        if v_fault is not null then
            return headrace.refusal('invalid_input', 'idempotency_key', left(p_key, 60), v_fault);
        end if;
    end if;
    return null;
end $$;
