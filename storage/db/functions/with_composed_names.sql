-- The ids and names of a request composed, one after the other.
create or replace function headrace.compose_names(p_request jsonb)
returns jsonb language plpgsql immutable parallel safe as $$
declare
    v_name text;
begin
    foreach v_name in array array['user_id', 'feature', 'lane', 'prompt', 'idempotency_key'] loop
        if jsonb_typeof(p_request -> v_name) = 'string' then
            p_request := jsonb_set(p_request, array[v_name], to_jsonb(headrace.composed(p_request ->> v_name)));
        end if;
    end loop;
    return p_request;
end $$;

-- A request with its ids and names composed: the hash of its body is of what is kept. Nearly every request is plain
-- ASCII as it comes, and then this costs a count of its characters.
create or replace function headrace.with_composed_names(p_request jsonb)
returns jsonb language sql immutable parallel safe
return case
    when octet_length(p_request ->> 'user_id') <> length(p_request ->> 'user_id')
      or octet_length(p_request ->> 'idempotency_key') <> length(p_request ->> 'idempotency_key')
      or octet_length(p_request ->> 'feature') <> length(p_request ->> 'feature')
      or octet_length(p_request ->> 'prompt') <> length(p_request ->> 'prompt')
      or octet_length(p_request ->> 'lane') <> length(p_request ->> 'lane')
    then headrace.compose_names(p_request) else p_request end;
