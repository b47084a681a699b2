-- Why a request is refused: {"code", "field", "value", "length" of the value, "message"}, or null when it is fine. Only
-- `value` and the name of a variable that the prompt does not declare hold the caller's text; enqueue() leaves them out
-- of what Postgres logs. What only Python can check (the output schema is a valid JSON schema) is checked there, and
-- again at claim. p_known_feature and p_known_lane: whether there are such a feature and lane; p_declared: what the
-- active version of the prompt declares, {"variable": cap in characters} (null: there is no such prompt). Called for
-- every row of a bulk: plain expressions, which PL/pgSQL evaluates by itself, cost a tenth of statements. Each check
-- costs what the bytes cost that it reads, and nothing is read before its bytes are counted. Ids and names are given
-- composed (with_composed_names).
create or replace function headrace.request_error(r headrace.job_request, p_known_feature boolean, p_known_lane boolean,
                                                  p_declared jsonb, v_now timestamptz)
returns jsonb language plpgsql stable as $$
declare
    v_context text := r.context;
    v_schema text := r.output_schema;
    v_metadata text := r.metadata;
    v_octets integer;
    v_names text[];
    v_name text;
    v_given jsonb;
    v_message jsonb;
    v_fault text;
begin
    -- version 7, and of no time that is still to come
    if r.id is not null and (uuid_extract_version(r.id) = 7
                             and uuid_extract_timestamp(r.id) <= v_now + headrace.id_ahead()) is not true then
        return headrace.id_refusal();
    end if;
    v_fault := headrace.name_fault(r.user_id, 200);
    if v_fault is not null then
        return headrace.refusal('invalid_input', 'user_id', r.user_id, v_fault);
    end if;
    if not p_known_feature then  -- a name that is known is one
        v_fault := headrace.name_fault(r.feature, 61);
        return case when v_fault is not null then headrace.refusal('invalid_input', 'feature', r.feature, v_fault)
            else headrace.refusal('unknown_feature', 'feature', r.feature, 'no such feature in the routing policy') end;
    end if;
    if not p_known_lane then
        v_fault := headrace.name_fault(r.lane, 31);
        return case when v_fault is not null then headrace.refusal('invalid_input', 'lane', r.lane, v_fault)
            else headrace.refusal('unknown_lane', 'lane', r.lane, 'no such lane') end;
    end if;
    if num_nonnulls(r.prompt, r.messages) <> 1 then
        return headrace.refusal('invalid_input', 'prompt', r.prompt,
            'give either prompt (with variables) or messages, not both and not neither');
    end if;
    v_octets := octet_length(coalesce(r.messages, r.variables, '{}')::text) + coalesce(octet_length(v_context), 0)
                + coalesce(octet_length(v_schema), 0);
    if v_octets > headrace.max_input_bytes() then
        return headrace.refusal('too_long', (  -- the largest part of it
                select part.name from (values
                    (octet_length(coalesce(r.messages, r.variables, '{}')::text),
                     case when r.prompt is null then 'messages' else 'variables' end),
                    (octet_length(v_context), 'context'), (octet_length(v_schema), 'output_schema')) part(octets, name)
                order by part.octets desc nulls last limit 1),
            v_octets || ' bytes', format('the whole input is over the cap of %s bytes', headrace.max_input_bytes()));
    end if;
    if octet_length(v_metadata) > 16384 then
        return headrace.refusal('too_long', 'metadata', octet_length(v_metadata) || ' bytes',
            'is over the cap of 16384 bytes');
    end if;
    v_fault := headrace.document_fault(v_context, r.context);
    if v_fault is not null then
        return headrace.refusal('invalid_input', 'context', null, v_fault);
    end if;
    v_fault := headrace.document_fault(v_schema, r.output_schema);
    if v_fault is not null then
        return headrace.refusal('invalid_schema', 'output_schema', null, v_fault);
    end if;
    v_fault := headrace.document_fault(v_metadata, r.metadata);
    if v_fault is not null then
        return headrace.refusal('invalid_input', 'metadata', null, v_fault);
    end if;

    if r.prompt is not null then
        if p_declared is null then
            v_fault := headrace.name_fault(r.prompt, 61);
            return case when v_fault is not null then headrace.refusal('invalid_input', 'prompt', r.prompt, v_fault)
                else headrace.refusal('unknown_prompt', 'prompt', r.prompt, 'no such prompt') end;
        end if;
        v_given := coalesce(r.variables, '{}');
        if jsonb_typeof(v_given) <> 'object' then
            return headrace.refusal('invalid_input', 'variables', null, 'needs an object of name and text');
        end if;
        v_names := array(select jsonb_object_keys(p_declared));
        foreach v_name in array v_names loop
            if not v_given ? v_name then
                return headrace.refusal('missing_variable', 'variables.' || v_name, null,
                    format('prompt %s needs the variable %s', r.prompt, v_name));
            end if;
        end loop;
        if v_given - v_names <> '{}' then
            v_name := (select k from jsonb_object_keys(v_given - v_names) k limit 1);
            return headrace.refusal('extra_variable', 'variables.' || v_name, v_given ->> v_name,
                format('prompt %s does not declare this variable', r.prompt));
        end if;
        foreach v_name in array v_names loop
            if jsonb_typeof(v_given -> v_name) <> 'string' then
                return headrace.refusal('invalid_input', 'variables.' || v_name, (v_given -> v_name)::text,
                    'a variable''s value must be text');
            elsif length(v_given ->> v_name) > (p_declared ->> v_name)::integer then
                return headrace.refusal('too_long', 'variables.' || v_name, length(v_given ->> v_name) || ' characters',
                    format('is over the cap of %s characters', p_declared ->> v_name));
            end if;
        end loop;
    else
        if r.variables is not null then
            return headrace.refusal('extra_variable', 'variables', r.variables::text, 'messages take no variables');
        end if;
        if jsonb_typeof(r.messages) <> 'array' or jsonb_array_length(r.messages) = 0 then
            return headrace.refusal('invalid_input', 'messages', null,
                'needs a list of at least one {"role", "content"}');
        end if;
        for i in 0 .. jsonb_array_length(r.messages) - 1 loop
            v_message := r.messages -> i;
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
        if not r.messages @> '[{"role": "user"}]' then
            return headrace.refusal('invalid_input', 'messages', null, 'needs at least one user message');
        end if;
    end if;

    if r.output_schema is not null and jsonb_typeof(r.output_schema) <> 'object' then
        return headrace.refusal('invalid_schema', 'output_schema', r.output_schema::text,
            'must be a JSON schema object');
    elsif r.max_output_tokens is not null and r.max_output_tokens not between 16 and 200000 then
        return headrace.refusal('invalid_input', 'max_output_tokens', r.max_output_tokens::text,
            'must be 16 to 200000');
    elsif not headrace.is_usable_time(r.run_at) then
        return headrace.refusal('invalid_input', 'run_at', r.run_at::text, 'must be a time of the years 1 to 9999');
    elsif not headrace.is_usable_time(r.deadline) and r.deadline > v_now then
        return headrace.refusal('invalid_input', 'deadline', r.deadline::text, 'must be a time of the years 1 to 9999');
    elsif r.deadline <= v_now then
        return headrace.refusal('deadline_passed', 'deadline', to_jsonb(r.deadline) #>> '{}',
            'the deadline has passed');
    elsif r.on_over_budget not in ('fail', 'wait') then
        return headrace.refusal('invalid_input', 'on_over_budget', r.on_over_budget, 'must be fail or wait');
    elsif r.on_unknown not in ('retry', 'fail') then
        return headrace.refusal('invalid_input', 'on_unknown', r.on_unknown, 'must be retry or fail');
    elsif r.force_tier not in ('cheap', 'strong') then
        return headrace.refusal('invalid_input', 'force_tier', r.force_tier, 'must be cheap or strong');
    elsif r.metadata is not null and jsonb_typeof(r.metadata) <> 'object' then
        return headrace.refusal('invalid_input', 'metadata', r.metadata::text, 'must be an object');
    elsif r.idempotency_key is not null then
        v_fault := headrace.name_fault(r.idempotency_key, 200);
        if v_fault is not null then
            return headrace.refusal('invalid_input', 'idempotency_key', left(r.idempotency_key, 60), v_fault);
        end if;
    end if;
    return null;
end $$;
