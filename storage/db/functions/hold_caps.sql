-- What keeps a cap from being changed while somebody looks at it: claims of a tenant share its guard, set_concurrency
-- has it alone; begins share that of models (p_tenant null). So nobody who has seen no cap is still under way once
-- there is one. Eight tenants in a row share no guard by their ids' last byte; those that do wait while an operator
-- changes a cap of one of them, a few milliseconds. ROW SHARE and EXCLUSIVE, since ACCESS SHARE is what a pg_dump holds
-- for hours. A table lock of this kind is taken without the shared lock table, and writes nothing.
create or replace function headrace.hold_caps(p_tenant uuid) returns void language plpgsql as $$
begin
    case get_byte(uuid_send(p_tenant), 15) & 7
        when 0 then lock table headrace.caps_guard_0 in row share mode;
        when 1 then lock table headrace.caps_guard_1 in row share mode;
        when 2 then lock table headrace.caps_guard_2 in row share mode;
        when 3 then lock table headrace.caps_guard_3 in row share mode;
        when 4 then lock table headrace.caps_guard_4 in row share mode;
        when 5 then lock table headrace.caps_guard_5 in row share mode;
        when 6 then lock table headrace.caps_guard_6 in row share mode;
        when 7 then lock table headrace.caps_guard_7 in row share mode;
        else lock table headrace.caps_guard_models in row share mode;
    end case;
end $$;
