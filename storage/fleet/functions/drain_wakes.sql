-- Notes left by transactions that were not ours to see commit, taken and summed. p_limit at most: the oldest, or
-- (p_tenants) an equal share of each. No job starts before its note is taken, so nobody waits for a flush here: a note
-- that comes back after a crash of Postgres is a turn too many, which is an empty claim. Indexes: the primary key,
-- wakes_of_tenant.
create or replace function headrace.drain_wakes(p_limit integer, p_tenants uuid[] default null)
returns table (tenant_id uuid, lane text, jobs integer) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_notes bigint[];
begin
    perform set_config('synchronous_commit', 'off', true);
    if p_tenants is null then
        v_notes := array(select w.id from headrace.wakes w order by w.id limit p_limit for update skip locked);
    else
        v_notes := array(select n.id from unnest(p_tenants) t(id) cross join lateral (
            select w.id from headrace.wakes w where w.tenant_id = t.id
            order by w.id limit greatest(1, p_limit / cardinality(p_tenants)) for update skip locked) n);
    end if;
    return query
    with taken as (
        delete from headrace.wakes w where w.id = any (v_notes) returning w.tenant_id, w.lane)
    select t.tenant_id, t.lane, count(*)::integer from taken t group by t.tenant_id, t.lane;
end $$;
