-- What an id or a name may be: one rule for every way in (storage/names.py says the same; a test holds both beside each other
-- over some hundred odd texts). Ids are of users and idempotency keys; names are of tenants, features, lanes and prompts.

-- An id as it is kept: in Unicode's composed form, so that the same word is the same id wherever it was typed. A text that is
-- too long for an id anyway stays as it is, since composing costs its length: at most four characters become one. Plain ASCII
-- is composed.
create or replace function headrace.composed(p_text text) returns text language sql immutable parallel safe
return case when octet_length(p_text) = length(p_text) or length(p_text) > 800 then p_text else normalize(p_text, NFC) end;

-- Why a composed text cannot be an id or a name of at most p_most characters; null: it can. Refused are control characters, the
-- separators of lines and paragraphs, overrides and isolates of the direction of text and the byte order mark, wherever they
-- are, and what is made of nothing but spaces, joiners, fillers, variation selectors and tags, which no reader can see.
create or replace function headrace.name_fault(p_text text, p_most integer) returns text language sql immutable parallel safe
return case
    when coalesce(length(p_text), 0) not between 1 and p_most then format('needs 1 to %s characters', p_most)
    when p_text ~ '^[!-~]+$' then null  -- most ids
    when p_text ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]'
        then 'holds a control character, a line separator, a direction override or half of a surrogate pair'
    when p_text !~ '[^\u0020\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u202f\u205f-\u2065\u206a-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]'
        then 'holds nothing that can be seen'
end;

create or replace function headrace.compose_names(p_request jsonb) returns jsonb language plpgsql immutable parallel safe as $$
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

-- A request with its ids and names composed: the hash of its body is of what is kept. Nearly every request is plain ASCII as it
-- comes, and then this costs a count of its characters.
create or replace function headrace.with_composed_names(p_request jsonb) returns jsonb language sql immutable parallel safe
return case
    when octet_length(p_request ->> 'user_id') <> length(p_request ->> 'user_id')
      or octet_length(p_request ->> 'idempotency_key') <> length(p_request ->> 'idempotency_key')
      or octet_length(p_request ->> 'feature') <> length(p_request ->> 'feature')
      or octet_length(p_request ->> 'prompt') <> length(p_request ->> 'prompt')
      or octet_length(p_request ->> 'lane') <> length(p_request ->> 'lane')
    then headrace.compose_names(p_request) else p_request end;

-- The names that there are of a kind (feature, lane, prompt), as this tenant may see them: at most 50, for what an unknown
-- name may have meant. Prompts are the defaults and the tenant's own. p_kind is unknown: null.
create or replace function headrace.known_names(p_tenant uuid, p_kind text) returns jsonb language sql stable
return (select jsonb_agg(n.name order by n.name) from (
    select f.name from headrace.features f where p_kind = 'feature' and f.retired_at is null
    union select l.name from headrace.lanes l where p_kind = 'lane' and l.retired_at is null
    union select o.name from headrace.prompt_pointers o
          where p_kind = 'prompt' and (o.tenant_id = p_tenant or o.tenant_id is null)
    order by 1 limit 50) n);

-- A refusal with what there is beside the name that is unknown: {…, "known": ["chat", …], "hint": "There are: chat, …."}.
create or replace function headrace.with_known_names(p_tenant uuid, p_error jsonb) returns jsonb language plpgsql stable as $$
declare
    v_known jsonb;
begin
    if p_error ->> 'code' not in ('unknown_feature', 'unknown_lane', 'unknown_prompt') then
        return p_error;
    end if;
    v_known := headrace.known_names(p_tenant, p_error ->> 'field');
    if v_known is null then
        return p_error;
    end if;
    return p_error || jsonb_build_object('known', v_known, 'hint', format('%s: %s.',
        case when jsonb_array_length(v_known) > 10 then 'Some that there are' else 'There are' end,
        (select string_agg(n.name, ', ' order by n.at) from jsonb_array_elements_text(v_known) with ordinality n(name, at) where n.at <= 10)));
end $$;
