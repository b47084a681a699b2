-- Release what fits under caps now, of some tenants (release_by_turns).
create or replace function headrace.release_for_money(
    p_tenants uuid[], p_before text[], p_lists integer, p_limit integer, p_within_s double precision)
returns table (tenant_id uuid, lane text, jobs integer, upto text) language plpgsql as $$
begin
    -- one at a time: two would give the same room twice. It is held for this statement, whatever becomes of who asked
    if not headrace.hold_chore('release_for_money') then return; end if;
    return query select * from headrace.release_by_turns('money', p_tenants, p_before, p_lists, p_limit, p_within_s);
end $$;
