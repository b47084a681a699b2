-- As hold_caps, but false instead of a wait.
create or replace function headrace.try_hold_caps(p_tenant uuid) returns boolean language plpgsql as $$
declare
    v_was constant text := current_setting('lock_timeout');
begin
    perform set_config('lock_timeout', '1', true);  -- ms, the shortest there is
    perform headrace.hold_caps(p_tenant);
    perform set_config('lock_timeout', v_was, true);
    return true;
exception when lock_not_available then
    return false;
end $$;
