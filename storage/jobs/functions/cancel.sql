-- cancel: a waiting job ends at once; a running one is told, and its worker ends it as *cancelled* at its next step
-- (before the next call, or when the call under way returns: what that used is settled all the same, its answer is
-- dropped). Returns cancelled, cancelling, the ending that it already had, or null when there is no such job.
create or replace function headrace.cancel(p_tenant uuid, p_job uuid, p_by text) returns text language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_caller constant text := headrace.act_as(p_tenant);
    v_done text;
    v_now timestamptz := headrace.now();
    q headrace.queue;
begin
    <<work>> begin
    select * into q from headrace.queue where id = p_job and tenant_id = p_tenant for update;
    if not found then
        v_done := (select j.outcome from headrace.jobs j where j.id = p_job and j.tenant_id = p_tenant);
        exit work;
    end if;
    if q.cancel_requested_at is null then
        insert into headrace.job_events (tenant_id, job_id, event, detail, at)
        values (p_tenant, p_job, 'cancel_requested', jsonb_build_object('by', p_by), v_now);
    end if;
    if q.state <> 'running' then
        perform headrace.end_job(p_tenant, q, 'cancelled', 'cancelled', null, v_now);
        v_done := 'cancelled';
        exit work;
    end if;
    update headrace.queue set cancel_requested_at = coalesce(cancel_requested_at, v_now)
    where id = p_job and tenant_id = p_tenant;
    v_done := 'cancelling';
    end work;
    perform set_config('app.tenant_id', v_caller, true);
    return v_done;
end $$;
