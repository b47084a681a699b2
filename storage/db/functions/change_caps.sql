-- Have the guard alone: no claim of the tenant (no begin, for models) is under way, and none starts.
create or replace function headrace.change_caps(p_tenant uuid) returns void language plpgsql as $$
begin
    execute format('lock table headrace.caps_guard_%s in exclusive mode',
                   coalesce((get_byte(uuid_send(p_tenant), 15) & 7)::text, 'models'));
end $$;
