-- The version of a prompt that is active for a tenant: its own pointer comes first, then the default one. Null: there
-- is no such prompt. The query stands in its caller's place. Index: prompt_pointers (tenant_id, name).
create or replace function headrace.active_prompt(p_tenant uuid, p_name text)
returns table (prompt_id uuid) language sql stable as $$
select coalesce(
    (select o.prompt_id from headrace.prompt_pointers o where o.tenant_id = p_tenant and o.name = p_name),
    (select o.prompt_id from headrace.prompt_pointers o where o.tenant_id is null and o.name = p_name));
$$;
