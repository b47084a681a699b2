-- The key of a cap if there is one, else null.
create or replace function headrace.cap_key_of(p_tenant uuid, p_scope text, p_key text) returns text language sql stable
return (select headrace.slot_key(p_tenant, p_scope, p_key) from headrace.concurrency c
        where c.tenant_id = p_tenant and c.scope = p_scope and c.key = p_key);
