-- Take a chore's lock as hold_chore does, and wait for the transaction that holds it.
create or replace function headrace.wait_for_chore(p_chore text) returns void language plpgsql as $$
begin
    perform from headrace.chore_locks c where c.name = p_chore for update;
    if not found then
        raise exception 'no chore is called %', p_chore using errcode = 'HR500';
    end if;
end $$;
