-- A claim that is repeated waits for its first try, which may still be under way on the connection that broke: that one
-- holds the advisory lock of the claim's id. The id is random, so no login can take the lock before; but while it is
-- held, pg_locks shows its key to everybody, and a stranger may hold it afterwards. So only a session of ours is waited
-- for.
create or replace function headrace.wait_for_claim(p_claim uuid) returns void language plpgsql as $$
declare
    v_key constant bigint := hashtextextended(p_claim::text, 0);
begin
    while not pg_try_advisory_xact_lock(v_key) loop
        perform pg_stat_clear_snapshot();
        exit when not exists (
            select from pg_locks l join pg_stat_activity a on a.pid = l.pid
            where l.locktype = 'advisory' and l.granted and l.objsubid = 1
              and l.database = (select d.oid from pg_database d where d.datname = current_database())
              and l.classid::bigint << 32 | l.objid::bigint = v_key
              and pg_has_role(a.usesysid, 'headrace_app', 'member'));
        perform pg_sleep(0.02);
    end loop;
end $$;
