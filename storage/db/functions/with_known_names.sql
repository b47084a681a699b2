-- A refusal with what there is beside the name that is unknown: {…, "known": ["chat", …], "hint": "There are: chat,
-- …."}.
create or replace function headrace.with_known_names(p_tenant uuid, p_error jsonb)
returns jsonb language plpgsql stable as $$
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
        (select string_agg(n.name, ', ' order by n.at)
            from jsonb_array_elements_text(v_known) with ordinality n(name, at) where n.at <= 10)));
end $$;

-- The names that there are of a kind (feature, lane, prompt), as this tenant may see them: at most 50, for what an
-- unknown name may have meant. Prompts are the defaults and the tenant's own. p_kind is unknown: null.
create or replace function headrace.known_names(p_tenant uuid, p_kind text) returns jsonb language sql stable
return (select jsonb_agg(n.name order by n.name) from (
    select f.name from headrace.features f where p_kind = 'feature' and f.retired_at is null
    union select l.name from headrace.lanes l where p_kind = 'lane' and l.retired_at is null
    union select o.name from headrace.prompt_pointers o
          where p_kind = 'prompt' and (o.tenant_id = p_tenant or o.tenant_id is null)
    order by 1 limit 50) n);
