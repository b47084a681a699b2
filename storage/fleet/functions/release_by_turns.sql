-- Jobs that wait for room (queue.waits_for): released by room, in fair order, never all at once.

-- Let jobs in from the lists of some tenants, one tenant after the other, until p_within_s seconds have passed.
-- p_before: for each the list where its turn goes on (null: its first). Rows with a lane: turns to offer. One row
-- without a lane for each tenant that had its turn: upto, where its next turn goes on. What cannot be done for what a
-- row carries stops its own tenant only, and is set aside.
create or replace function headrace.release_by_turns(
    p_chore text, p_tenants uuid[], p_before text[], p_lists integer, p_limit integer, p_within_s double precision)
returns table (tenant_id uuid, lane text, jobs integer, upto text) language plpgsql as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := headrace.now();
    v_until constant timestamptz := clock_timestamp() + make_interval(secs => p_within_s);
    v_each constant integer := greatest(2, p_limit / greatest(cardinality(p_tenants), 1));
    v_lists constant integer := greatest(2, p_lists / greatest(cardinality(p_tenants), 1));
    v_got jsonb[];
    v_reached integer;
begin
    foreach v_reached in array array[0, 1] loop  -- all together; where that fails, each by itself
        declare
            v_alone constant boolean := v_reached = 1;
        begin
            v_got := '{}';
            v_reached := 0;
            for i in 1 .. cardinality(p_tenants) loop
                exit when i > 1 and clock_timestamp() > v_until;
                v_reached := i;
                v_got[i] := '{}';
                continue when headrace.is_aside(p_chore, p_tenants[i], null, v_now);
                if not v_alone then
                    v_got[i] := headrace.release_of(p_chore, p_tenants[i], p_before[i], v_lists, v_each, v_now,
                        v_until);
                    continue;
                end if;
                begin
                    v_got[i] := headrace.release_of(p_chore, p_tenants[i], p_before[i], v_lists, v_each, v_now,
                        v_until);
                exception when others then
                    if not headrace.is_of_the_row(sqlstate) then raise; end if;
                    perform headrace.put_aside(p_chore, p_tenants[i], null, sqlerrm, sqlstate);
                end;
            end loop;
            exit;
        exception when others then
            if v_alone or not headrace.is_of_the_row(sqlstate) then raise; end if;
        end;
    end loop;
    return query
        select p_tenants[i], null::text, 0, v_got[i] ->> 'upto' from generate_series(1, v_reached) i
        union all
        select p_tenants[i], t.key, t.value::integer, null
        from generate_series(1, v_reached) i cross join lateral jsonb_each_text(v_got[i] -> 'turns') t;
end $$;
