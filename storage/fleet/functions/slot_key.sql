-- Concurrency caps. A cap of n is n rows of `slots` that are not retired: whoever runs under it holds one, so nothing
-- is counted and nothing can be exceeded. docs/decisions/0017-slots.md.

-- The key of a cap, which its slots carry.
create or replace function headrace.slot_key(p_tenant uuid, p_scope text, p_key text)
returns text language sql immutable
return case when p_scope = 'model' then 'model:' || p_key
    else 'tenant:' || p_tenant::text || ':' || p_scope || ':' || p_key end;
