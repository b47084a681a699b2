-- The lists of some tenants that wait for a rate, with the rate as it is now. One row without a list for each tenant:
-- upto, where its next turn goes on (release_by_turns).
create or replace function headrace.lists_of_rates(p_tenants uuid[], p_before text[], p_lists integer)
returns table (tenant_id uuid, waits_for text, per_minute integer, upto text) language sql stable as $$
    select t.tenant_id, l.waits_for, case when l.waits_for is not null
        then headrace.rate_now(t.tenant_id, l.waits_for) end, l.looked_to
    from unnest(p_tenants, p_before) as t(tenant_id, before)
    cross join lateral headrace.waiting_lists(t.tenant_id, array['rate'], t.before,
                                              greatest(2, p_lists / greatest(cardinality(p_tenants), 1))) l
    where not headrace.is_aside('rates', t.tenant_id, null, headrace.now());
$$;
