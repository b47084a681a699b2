-- The locks that matter, each on an object of ours: who has no privilege on it cannot stand in its way (decision 30).
-- They are held until the transaction ends, and taken before any row.

-- Chores that run one at a time.
insert into headrace.chore_locks (name) values
    ('analyze_grown'), ('flag_unusual'), ('forget'), ('lend_slots'), ('prices'), ('provision'),
    ('release_for_money'), ('release_for_rate'), ('sweep')
on conflict do nothing;

-- Take a chore's lock; false when another transaction holds it, which then does the work.
create or replace function headrace.hold_chore(p_chore text) returns boolean language plpgsql as $$
begin
    perform from headrace.chore_locks c where c.name = p_chore for update skip locked;
    return found;
end $$;

-- The same, and wait for whoever holds it.
create or replace function headrace.wait_for_chore(p_chore text) returns void language plpgsql as $$
begin
    perform from headrace.chore_locks c where c.name = p_chore for update;
    if not found then
        raise exception 'no chore is called %', p_chore using errcode = 'HR500';
    end if;
end $$;

-- What keeps a cap from being changed while somebody looks at it: claims of a tenant share its guard, set_concurrency has
-- it alone; begins share that of models (p_tenant null). So nobody who has seen no cap is still under way once there is one.
-- Eight tenants in a row share no guard by their ids' last byte; those that do wait while an operator changes a cap of one of
-- them, a few milliseconds. ROW SHARE and EXCLUSIVE, since ACCESS SHARE is what a pg_dump holds for hours. A table lock of
-- this kind is taken without the shared lock table, and writes nothing.
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

-- The same, but false instead of a wait.
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

-- Have the guard alone: no claim of the tenant (no begin, for models) is under way, and none starts.
create or replace function headrace.change_caps(p_tenant uuid) returns void language plpgsql as $$
begin
    execute format('lock table headrace.caps_guard_%s in exclusive mode',
                   coalesce((get_byte(uuid_send(p_tenant), 15) & 7)::text, 'models'));
end $$;

-- A claim that is repeated waits for its first try, which may still be under way on the connection that broke: that one
-- holds the advisory lock of the claim's id. The id is random, so no login can take the lock before; but while it is held,
-- pg_locks shows its key to everybody, and a stranger may hold it afterwards. So only a session of ours is waited for.
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
