-- As release_for_rate, for several lists side by side: tenants, lists and how many of each. What cannot be done for
-- what a row carries stops its own tenant only, and is set aside.
create or replace function headrace.release_for_rates(p_tenants uuid[], p_lists text[], p_ns integer[])
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql as $$
#variable_conflict use_column
begin
    begin
        return query
            select r.tenant_id, r.lane, sum(r.jobs)::integer
            from unnest(p_tenants, p_lists, p_ns) as l(tenant_id, waits_for, n)
            cross join lateral headrace.release_for_rate(l.tenant_id, l.waits_for, l.n) r group by r.tenant_id, r.lane;
        return;
    exception when others then
        if not headrace.is_of_the_row(sqlstate) then raise; end if;
    end;
    for i in 1 .. cardinality(p_tenants) loop
        begin
            return query select * from headrace.release_for_rate(p_tenants[i], p_lists[i], p_ns[i]);
        exception when others then
            if not headrace.is_of_the_row(sqlstate) then raise; end if;
            perform headrace.put_aside('rates', p_tenants[i], null, sqlerrm, sqlstate);
        end;
    end loop;
end $$;
