-- select * from headrace.result(tenant_id => …, job_id => …): a job's state, and once it ended its answer or its error
-- and what all its runs cost: how a service that may read no table reads what it enqueued. One row; none for an id that
-- is not this tenant's, for a tenant that there is not, and for one to which the login is not bound
-- (producer_bindings): they cannot be told apart. Writes nothing. Runs as headrace_owner, with the caller's
-- app.tenant_id given back; a transaction that has set a tenant stays that tenant. Index: primary keys, runs_by_job.
create or replace function headrace.result(tenant_id uuid, job_id uuid)
returns table (
    state text, reason text, output text, output_json jsonb, finish text, error jsonb, attempts integer,
    cost_usd numeric, simulated boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_tenant constant uuid := result.tenant_id;
    v_job constant uuid := result.job_id;
    v_caller constant text := headrace.act_as(v_tenant);
begin
    if not headrace.is_shut_out(v_tenant) then
        return query
        select s.state, s.reason, r.output, r.output_json, r.finish, j.error, s.attempts::integer,
               (select coalesce(sum(x.cost_usd), 0) from headrace.runs x
                   where x.job_id = s.id and x.tenant_id = s.tenant_id),
               coalesce(r.simulated, false)
        from headrace.job_status s
        join headrace.jobs j on j.id = s.id and j.tenant_id = s.tenant_id
        left join headrace.results r on r.job_id = s.id and r.tenant_id = s.tenant_id
        where s.id = v_job and s.tenant_id = v_tenant;
    end if;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
