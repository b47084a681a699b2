-- cancel_free: `cancel` for many jobs in one transaction, but for those that another transaction holds just now.
-- Returns a row for each job that it looked at; the caller cancels the others alone.
--
-- It waits for no job while it holds one. A worker's transaction claims some jobs and then waits for others in the
-- order of their ids, so a transaction that waited for one job and held another would meet it in a deadlock.
-- Index: primary key of queue.
create or replace function headrace.cancel_free(p_tenants uuid[], p_jobs uuid[], p_by text)
returns table (id uuid, cancelled text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_caller text;
    v_is_free boolean;
    t record;
begin
    for t in select j.id, j.tenant_id from unnest(p_jobs, p_tenants) j(id, tenant_id) loop
        v_caller := headrace.act_as(t.tenant_id);
        perform from headrace.queue q where q.id = t.id and q.tenant_id = t.tenant_id for update skip locked;
        v_is_free := found or not exists (select from headrace.queue q where q.id = t.id and q.tenant_id = t.tenant_id);
        perform set_config('app.tenant_id', v_caller, true);
        if v_is_free then
            return query select t.id, headrace.cancel(t.tenant_id, t.id, p_by);
        end if;
    end loop;
end $$;
