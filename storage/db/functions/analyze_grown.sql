-- Bring the planner's figures up to date for tables that have grown fourfold since they were last looked at, or were
-- empty then. The hot functions plan each statement once (plan_cache_mode), and a plan made over an empty table may
-- take any index; what is analyzed is planned anew, everywhere. Autovacuum does the same, a minute later: long enough
-- for a young month, or a young installation, to crawl. Returns how many were analyzed.
create or replace function headrace.analyze_grown()
returns integer language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_table text;
    v_done integer := 0;
begin
    if not headrace.hold_chore('analyze_grown') then return 0; end if;
    for v_table in
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'headrace'::regnamespace and c.relkind = 'r'
          and pg_relation_size(c.oid) / current_setting('block_size')::integer > 4 * case when c.reltuples < 0 then 0
              else c.relpages end
    loop
        execute format('analyze (skip_locked) %s', v_table);  -- who waited here would stop an autovacuum
        v_done := v_done + 1;
    end loop;
    return v_done;
end $$;
