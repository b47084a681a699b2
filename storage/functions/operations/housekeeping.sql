-- Months of `jobs` and `runs` that exist: this one and p_ahead more. Partitions are ranges of UUIDv7, so the id alone
-- prunes; a wrong clock lands in the default partition. Returns how many were made. Safe to run from several at once.
create or replace function headrace.ensure_partitions(p_ahead integer default 2)
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_month timestamptz;
    v_name text;
    v_made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('headrace.ensure_partitions', 0));
    for i in 0..p_ahead loop
        v_month := date_trunc('month', headrace.now(), 'UTC') + make_interval(months => i);
        foreach v_name in array array['jobs', 'runs'] loop
            if to_regclass(format('headrace.%s_%s', v_name, to_char(v_month at time zone 'UTC', 'YYYY_MM'))) is null then
                execute format('create table headrace.%I partition of headrace.%I for values from (%L) to (%L) with (fillfactor = 85)',
                    v_name || to_char(v_month at time zone 'UTC', '_YYYY_MM'), v_name,
                    headrace.uuid_at(v_month), headrace.uuid_at(v_month + interval '1 month'));
                execute format('alter table headrace.%I enable row level security, force row level security',
                    v_name || to_char(v_month at time zone 'UTC', '_YYYY_MM'));
                v_made := v_made + 1;
            end if;
        end loop;
    end loop;
    return v_made;
end $$;
