-- Months of `jobs` and `runs` that exist: this one and p_ahead more. Partitions are ranges of UUIDv7, so the id alone
-- prunes; a wrong clock lands in the default partition. Returns how many were made. Safe to run from several at once.
--
-- A row of a clock that is months ahead is in the way of its month's partition: then all of that month stays in the
-- default one, which is slower and no less right. It is tried no more once the month has begun: each try reads the
-- default partition with everybody else shut out of it.
create or replace function headrace.ensure_partitions(p_ahead integer default 2)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_month timestamptz;
    v_name text;
    v_partition text;
    v_made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('headrace.ensure_partitions', 0));
    for i in 0..p_ahead loop
        v_month := date_trunc('month', headrace.now(), 'UTC') + make_interval(months => i);
        foreach v_name in array array['jobs', 'runs'] loop
            v_partition := v_name || to_char(v_month at time zone 'UTC', '_YYYY_MM');
            continue when to_regclass('headrace.' || v_partition) is not null
                or (i = 0 and pg_relation_size(format('headrace.%s_default', v_name)) > 0);
            begin
                execute format('create table headrace.%I partition of headrace.%I for values from (%L) to (%L) with (fillfactor = %s)',
                    v_partition, v_name, headrace.uuid_at(v_month), headrace.uuid_at(v_month + interval '1 month'),
                    case v_name when 'runs' then 50 else 85 end);
                execute format('alter table headrace.%I enable row level security, force row level security', v_partition);
                v_made := v_made + 1;
            exception when check_violation then
                raise warning 'no partition %: its month has rows in %_default', v_partition, v_name;
            end;
        end loop;
    end loop;
    return v_made;
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
    if not pg_try_advisory_xact_lock(hashtextextended('headrace.analyze_grown', 0)) then return 0; end if;
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
