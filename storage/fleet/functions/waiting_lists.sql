-- The lists that jobs of a tenant wait in, of the kinds asked for: those before p_before (null: all), the last name
-- first, and so lists of room before those of a window. p_look lists are looked at, of whatever kind; the last row says
-- how far that went (looked_to; null: there are no more). None of a tenant that is paused. One seek each. Index:
-- queue_waiting.
create or replace function headrace.waiting_lists(p_tenant uuid, p_kinds text[], p_before text, p_look integer)
returns table (waits_for text, looked_to text) language plpgsql stable
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
    if exists (select from headrace.tenants t where t.id = p_tenant and t.paused_at is not null) then
        return query select null::text, null::text;
        return;
    end if;
    looked_to := p_before;
    for i in 1 .. p_look loop
        if looked_to is null then
            select q.waits_for into looked_to from headrace.queue q
            where q.tenant_id = p_tenant and q.waits_for is not null order by q.waits_for desc limit 1;
        else
            select q.waits_for into looked_to from headrace.queue q
            where q.tenant_id = p_tenant and q.waits_for is not null and q.waits_for < looked_to
            order by q.waits_for desc limit 1;
        end if;
        exit when looked_to is null;
        if split_part(looked_to, ':', 1) = any (p_kinds) then
            return query select looked_to, null::text;
        end if;
    end loop;
    return query select null::text, looked_to;
end $$;
