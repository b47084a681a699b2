-- What no partition covers of this month and the p_ahead after it, the earliest first. Rows in the default partition
-- are left out, with what lies between them: a partition cannot be attached over them. So a stray row costs its month
-- one millisecond. In the running month new rows may arrive there at any time: what is left of it begins an hour from
-- now. A member of headrace_ops sees those rows; for any other role an attach over them fails and is reported as
-- *taken*.
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
            cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid),
                '([0-9a-f-]{36}).*([0-9a-f-]{36})') b(bounds)
            where i.inhparent = format('headrace.%I', parent)::regclass and b.bounds is not null), '{}');
        for i in 0..p_ahead loop
            v_gaps := tstzmultirange(tstzrange(headrace.month_of(v_now, i), headrace.month_of(v_now, i + 1))) - v_made;
            continue when isempty(v_gaps);
            execute format('select'
                ' (select x.id from headrace.%1$I x'
                ' where x.id >= $1 and x.id < $2 and x.tableoid = $3 order by x.id limit 1),'
                ' (select x.id from headrace.%1$I x'
                ' where x.id >= $1 and x.id < $2 and x.tableoid = $3 order by x.id desc limit 1)', parent)
                into v_first, v_last using headrace.uuid_at(headrace.month_of(v_now, i)),
                    headrace.uuid_at(headrace.month_of(v_now, i + 1)),
                    to_regclass(format('headrace.%I', parent || '_default'));
            if v_first is not null then
                v_gaps := v_gaps - tstzmultirange(tstzrange(headrace.time_of(v_first),
                    greatest(headrace.time_of(v_last) + interval '1 millisecond', case when i = 0
                        then v_now + interval '1 hour' end)));
            end if;
            return query select parent, lower(g), upper(g) from unnest(v_gaps) g;
        end loop;
    end loop;
end $$;
