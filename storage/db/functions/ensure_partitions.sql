-- The calendar of `jobs` and `runs`: a partition for each month of UTC, as a range of UUIDv7, so that the id alone
-- prunes. The months ahead are made long before they begin and without a lock that another transaction notices
-- (docs/decisions/0023-calendar.md). Rows outside of every month, of clocks that are wrong, lie in the default
-- partition.

-- Make the earliest partition that is missing, of this month and the p_ahead after it. One a call, so that nothing is
-- locked for longer than one takes: the caller repeats while one is made. made: its outcome (make_partition.sql), null
-- when none is missing; missing: how many there still are.
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
