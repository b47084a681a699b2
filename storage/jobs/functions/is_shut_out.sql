-- Whether the login that calls is bound to tenants (producer_bindings), and this is none of them. What counts is who
-- logged in, whatever role is in force. Called by functions that run as headrace_owner, whose policy shows a login its
-- own rows.
create or replace function headrace.is_shut_out(p_tenant uuid) returns boolean language plpgsql stable as $$
begin
    return exists (select from headrace.producer_bindings b where b.login = session_user)
       and not exists (select from headrace.producer_bindings b
           where b.login = session_user and b.tenant_id = p_tenant);
end $$;
