-- Release the first p_n of a list that waits for a rate, less those that were released and have not got their call yet.
create or replace function headrace.release_for_rate(p_tenant uuid, p_waits_for text, p_n integer)
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql as $$
#variable_conflict use_column
declare
    v_out integer;
begin
    if not headrace.hold_chore('release_for_rate') then return; end if;  -- one at a time, as in release_for_money.sql
    select count(*) into v_out from headrace.queue x
    where x.tenant_id = p_tenant and x.waits_for = p_waits_for and x.state <> 'scheduled';
    return query
    with released as (
        select f.lane, headrace.release_one(f) from headrace.first_waiting(p_tenant, p_waits_for,
            greatest(p_n - v_out, 0)) f)
    select p_tenant, r.lane, count(*)::integer from released r group by r.lane;
end $$;
