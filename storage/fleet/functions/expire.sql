-- Waiting jobs past their deadline → expired, p_limit at most: the earliest deadline first, or (p_tenants) an equal
-- share of each. Waiting jobs hold no caps, so no cap is locked here. Returns how many. Indexes: queue_expiring,
-- queue_expiring_of_tenant.
create or replace function headrace.expire(p_limit integer, p_tenants uuid[] default null)
returns integer language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    v_now constant timestamptz := headrace.now();
    v_aside constant boolean := exists (select from headrace.set_aside s where s.chore = 'expire');  -- hardly ever
    v_late headrace.queue[];
    v_one headrace.queue;
    v_count integer := 0;
begin
    if p_tenants is null then
        select array_agg(d.x) into v_late from (
            select x from headrace.queue x
            where x.state <> 'running' and x.deadline <= v_now
              and not (v_aside and headrace.is_aside('expire', x.tenant_id, x.id, v_now))
            order by x.deadline limit p_limit for update skip locked) d;
    else
        select array_agg(d.x) into v_late from unnest(p_tenants) t(id) cross join lateral (
            select x from headrace.queue x
            where x.tenant_id = t.id and x.state <> 'running' and x.deadline <= v_now
              and not (v_aside and headrace.is_aside('expire', x.tenant_id, x.id, v_now))
            order by x.deadline limit greatest(1, p_limit / cardinality(p_tenants)) for update skip locked) d;
    end if;
    if v_late is null then return 0; end if;
    begin
        foreach v_one in array v_late loop
            perform headrace.end_job(v_one.tenant_id, v_one, 'expired', 'deadline_passed', null, v_now);
        end loop;
        return cardinality(v_late);
    exception when others then
        if not headrace.is_of_the_row(sqlstate) then raise; end if;
    end;
    foreach v_one in array v_late loop  -- one of them cannot be ended: each by itself
        begin
            perform headrace.end_job(v_one.tenant_id, v_one, 'expired', 'deadline_passed', null, v_now);
            v_count := v_count + 1;
        exception when others then
            if not headrace.is_of_the_row(sqlstate) then raise; end if;
            perform headrace.put_aside('expire', v_one.tenant_id, v_one.id, sqlerrm, sqlstate);
        end;
    end loop;
    return v_count;
end $$;
