-- The default partition, to ourselves, without any transaction noticing. A lock that has to wait makes every later
-- transaction wait behind it. So it is asked for without waiting, for a tenth of a second. If it was in use at each
-- look, but never by a transaction that was there at the first one, all of them are short: then a wait of 50 ms is
-- enough. While a long transaction (pg_dump, a forgotten psql) has read the table, nothing waits and the answer is
-- false.
create or replace function headrace.lock_quietly(p_table regclass) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    v_seen text[];
begin
    for i in 1..20 loop
        begin
            execute format('lock table only %s in access exclusive mode nowait', p_table);
            return true;
        exception when lock_not_available then
            if i = 1 then
                v_seen := array(select l.virtualtransaction from pg_locks l
                    where l.relation = p_table and l.pid <> pg_backend_pid());
            end if;
        end;
        perform pg_sleep(0.005);
    end loop;
    if exists (select from pg_locks l where l.relation = p_table and l.virtualtransaction = any (v_seen)) then
        return false;
    end if;
    execute format('lock table only %s in access exclusive mode', p_table);
    return true;
exception when lock_not_available then
    return false;
end $$;
