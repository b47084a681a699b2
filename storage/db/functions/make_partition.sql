-- One partition. Returns made; busy (a transaction is in the way: try again later); taken (rows of that time are in the
-- default partition, or another partition overlaps); large (see below). `create table … partition of` would shut
-- everybody out of the default partition from its beginning; here the table is made beside it, and what is locked is
-- locked for the attach alone. The attach reads the default partition: beyond 32 MB that would take longer than others
-- may wait, so it is not tried, unless a check constraint of that name spares the reading
-- (docs/decisions/0023-calendar.md).
create or replace function headrace.make_partition(p_parent text, p_since timestamptz, p_until timestamptz)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
    v_parent regclass := to_regclass(format('headrace.%I', p_parent));
    v_default oid;
    v_name text := p_parent || to_char(p_since at time zone 'UTC', '_YYYY_MM');
    v_other regclass;
begin
    select p.partdefid into v_default from pg_partitioned_table p where p.partrelid = v_parent;
    if v_default is null then
        raise exception using errcode = 'HR400',
            message = 'headrace.make_partition: this is not a partitioned table of headrace';
    end if;
    if v_default <> 0 and pg_relation_size(v_default) > 32 * 1024 * 1024 and not exists (
        select from pg_constraint c where c.conrelid = v_default and c.conname = 'without_months' and c.convalidated)
    then return 'large'; end if;
    if to_regclass(format('headrace.%I', v_name)) is not null then
        v_name := p_parent || to_char(p_since at time zone 'UTC', '_YYYY_MM_DD_HH24MISS');
    end if;
    -- one at a time; nothing but other changes of the schema conflicts with this lock
    execute format('lock table only %s in share update exclusive mode', v_parent);
    execute format('create table headrace.%I (like %s including all) with (fillfactor = %s)',
        v_name, v_parent, case p_parent when 'runs' then 50 else 85 end);
    execute format('alter table headrace.%I enable row level security, force row level security', v_name);
    if v_default <> 0 and not headrace.lock_quietly(v_default) then
        raise exception using errcode = 'lock_not_available';
    end if;
    -- an attach repeats the parent's foreign keys, which locks what they point at
    for v_other in select distinct c.confrelid::regclass from pg_constraint c
        where c.conrelid = v_parent and c.contype = 'f' loop
        execute format('lock table only %s in share row exclusive mode nowait', v_other);
    end loop;
    execute format('alter table %s attach partition headrace.%I for values from (%L) to (%L)',
        v_parent, v_name, headrace.uuid_at(p_since), headrace.uuid_at(p_until));
    return 'made';
exception
    -- what was made is gone again, and its locks with it
    when lock_not_available or duplicate_table then return 'busy';
    when check_violation or invalid_object_definition then return 'taken';
end $$;
