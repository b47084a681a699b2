-- What every function does first that takes a tenant: act as that tenant until the function returns. Returns what
-- app.tenant_id was, to be set again at the end (an error rolls it back by itself), so that nothing of a caller's
-- transaction runs as another tenant afterwards.
--
-- A transaction that has set a tenant stays that tenant: another one's id in an argument is then an id that does not
-- exist, since the policies hide what is behind it.
create or replace function headrace.act_as(p_tenant uuid) returns text language plpgsql as $$
declare
    v_caller constant text := coalesce(current_setting('app.tenant_id', true), '');
begin
    if v_caller = '' then
        perform set_config('app.tenant_id', coalesce(p_tenant::text, ''), true);
    end if;
    return v_caller;
end $$;
