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
                execute format('create table headrace.%I partition of headrace.%I for values from (%L) to (%L) with (fillfactor = 85)',
                    v_partition, v_name, headrace.uuid_at(v_month), headrace.uuid_at(v_month + interval '1 month'));
                execute format('alter table headrace.%I enable row level security, force row level security', v_partition);
                v_made := v_made + 1;
            exception when check_violation then
                raise warning 'no partition %: its month has rows in %_default', v_partition, v_name;
            end;
        end loop;
    end loop;
    return v_made;
end $$;
