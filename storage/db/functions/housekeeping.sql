-- The calendar of `jobs` and `runs`: a partition for each month of UTC, as a range of UUIDv7, so that the id alone prunes.
-- The months ahead are made long before they begin and without a lock that another transaction notices
-- (docs/decisions/0023-calendar.md). Rows outside of every month, of clocks that are wrong, lie in the default partition.

-- The first instant of a month of UTC: this one, or p_on months later. Months are added in UTC: `timestamptz + interval` adds
-- them in the session's time zone, which may be another month.
create or replace function headrace.month_of(p_at timestamptz, p_on integer default 0) returns timestamptz language sql stable
return (date_trunc('month', p_at at time zone 'UTC') + make_interval(months => p_on)) at time zone 'UTC';

-- What no partition covers of this month and the p_ahead after it, the earliest first. Rows in the default partition are left
-- out, with what lies between them: a partition cannot be attached over them. So a stray row costs its month one millisecond.
-- In the running month new rows may arrive there at any time: what is left of it begins an hour from now.
-- A member of headrace_ops sees those rows; for any other role an attach over them fails and is reported as *taken*.
create or replace function headrace.months_missing(p_ahead integer)
returns table (parent text, since timestamptz, until timestamptz) language plpgsql stable as $$
declare
    v_now timestamptz := headrace.now();
    v_made tstzmultirange;
    v_gaps tstzmultirange;
    v_first uuid;
    v_last uuid;
begin
    foreach parent in array array['jobs', 'runs'] loop
        v_made := coalesce((
            select range_agg(tstzrange(headrace.time_of(b.bounds[1]::uuid), headrace.time_of(b.bounds[2]::uuid)))
            from pg_inherits i join pg_class c on c.oid = i.inhrelid
            cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), '([0-9a-f-]{36}).*([0-9a-f-]{36})') b(bounds)
            where i.inhparent = format('headrace.%I', parent)::regclass and b.bounds is not null), '{}');
        for i in 0..p_ahead loop
            v_gaps := tstzmultirange(tstzrange(headrace.month_of(v_now, i), headrace.month_of(v_now, i + 1))) - v_made;
            continue when isempty(v_gaps);
            execute format('select (select x.id from headrace.%1$I x where x.id >= $1 and x.id < $2 and x.tableoid = $3 order by x.id limit 1),'
                '(select x.id from headrace.%1$I x where x.id >= $1 and x.id < $2 and x.tableoid = $3 order by x.id desc limit 1)', parent)
                into v_first, v_last using headrace.uuid_at(headrace.month_of(v_now, i)),
                    headrace.uuid_at(headrace.month_of(v_now, i + 1)), to_regclass(format('headrace.%I', parent || '_default'));
            if v_first is not null then
                v_gaps := v_gaps - tstzmultirange(tstzrange(headrace.time_of(v_first),
                    greatest(headrace.time_of(v_last) + interval '1 millisecond', case when i = 0 then v_now + interval '1 hour' end)));
            end if;
            return query select parent, lower(g), upper(g) from unnest(v_gaps) g;
        end loop;
    end loop;
end $$;

-- The default partition, to ourselves, without any transaction noticing. A lock that has to wait makes every later
-- transaction wait behind it. So it is asked for without waiting, for a tenth of a second. If it was in use at each look, but
-- never by a transaction that was there at the first one, all of them are short: then a wait of 50 ms is enough. While a long
-- transaction (pg_dump, a forgotten psql) has read the table, nothing waits and the answer is false.
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
                v_seen := array(select l.virtualtransaction from pg_locks l where l.relation = p_table and l.pid <> pg_backend_pid());
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

-- One partition. Returns made; busy (a transaction is in the way: try again later); taken (rows of that time are in the default
-- partition, or another partition overlaps); large (see below). `create table … partition of` would shut everybody out of the
-- default partition from its beginning; here the table is made beside it, and what is locked is locked for the attach alone.
-- The attach reads the default partition: beyond 32 MB that would take longer than others may wait, so it is not tried, unless
-- a check constraint of that name spares the reading (docs/decisions/0023-calendar.md).
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
        raise exception using errcode = 'HR400', message = 'headrace.make_partition: this is not a partitioned table of headrace';
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
    for v_other in select distinct c.confrelid::regclass from pg_constraint c where c.conrelid = v_parent and c.contype = 'f' loop
        execute format('lock table only %s in share row exclusive mode nowait', v_other);
    end loop;
    execute format('alter table %s attach partition headrace.%I for values from (%L) to (%L)',
        v_parent, v_name, headrace.uuid_at(p_since), headrace.uuid_at(p_until));
    return 'made';
exception
    when lock_not_available or duplicate_table then return 'busy';  -- what was made is gone again, and its locks with it
    when check_violation or invalid_object_definition then return 'taken';
end $$;

-- Make the earliest partition that is missing, of this month and the p_ahead after it. One a call, so that nothing is locked
-- for longer than one takes: the caller repeats while one is made. made: its outcome as above, null when none is missing;
-- missing: how many there still are.
create or replace function headrace.ensure_partitions(p_ahead integer default 6, out outcome text, out missing integer)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    m record;
begin
    missing := 0;
    for m in select * from headrace.months_missing(p_ahead) x order by x.since, x.parent loop
        if outcome is null or outcome in ('taken', 'large') then
            outcome := headrace.make_partition(m.parent, m.since, m.until);
        end if;
        missing := missing + 1;
    end loop;
    if outcome = 'made' then missing := missing - 1; end if;
end $$;

-- Bring the planner's figures up to date for tables that have grown fourfold since they were last looked at, or were empty
-- then. The hot functions plan each statement once (plan_cache_mode), and a plan made over an empty table may take any
-- index; what is analyzed is planned anew, everywhere. Autovacuum does the same, a minute later: long enough for a young
-- month, or a young installation, to crawl. Returns how many were analyzed.
create or replace function headrace.analyze_grown()
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_table text;
    v_done integer := 0;
begin
    if not headrace.hold_chore('analyze_grown') then return 0; end if;
    for v_table in
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'headrace'::regnamespace and c.relkind = 'r'
          and pg_relation_size(c.oid) / current_setting('block_size')::integer > 4 * case when c.reltuples < 0 then 0 else c.relpages end
    loop
        execute format('analyze (skip_locked) %s', v_table);  -- who waited here would stop an autovacuum
        v_done := v_done + 1;
    end loop;
    return v_done;
end $$;
