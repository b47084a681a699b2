-- Locks of ours that only roles of ours can take. An advisory lock is open to every login of the database, and pg_locks tells
-- each of them the keys that are held: one `select pg_advisory_lock(…)` of a stranger stood in the way of every `begin`.
-- A table lock and a row lock ask for a privilege (storage/db/functions/locks.sql, decision 30).

-- Locked by its rows: of each chore that runs one at a time. The names are in locks.sql.
create table headrace.chore_locks (
    name                text primary key
);

-- Locked as tables, never filled: what keeps a concurrency cap from being changed while somebody looks at it. Tenants
-- share eight of them, by the last byte of their ids; models have one.
do $$
declare v_of text;
begin
    foreach v_of in array array['models', '0', '1', '2', '3', '4', '5', '6', '7'] loop
        execute format('create table headrace.caps_guard_%s (never_filled boolean check (false))', v_of);
    end loop;
end $$;

-- Whose claim holds a slot. A claim id alone says nothing of the tenant, and is an argument of whoever calls.
alter table headrace.slots add column of_tenant uuid;
alter table headrace.queue no force row level security;  -- the owner is bound by the policies too, and no tenant is set here
update headrace.slots s set of_tenant = q.tenant_id from headrace.queue q where q.claim_id = s.claim_id;
alter table headrace.queue force row level security;
update headrace.slots s set of_tenant = split_part(s.cap_key, ':', 2)::uuid
where s.claim_id is not null and s.of_tenant is null and s.cap_key like 'tenant:%';
-- what is left belongs to a claim that is over: nobody would ever let it go
delete from headrace.slots s where s.claim_id is not null and s.of_tenant is null and s.retired;
update headrace.slots s set claim_id = null where s.claim_id is not null and s.of_tenant is null;
alter table headrace.slots add constraint slots_holder_has_a_tenant check ((claim_id is null) = (of_tenant is null));

-- their arguments have changed
drop function if exists headrace.caps_lock(uuid);
drop function if exists headrace.break_promise(uuid, text);
