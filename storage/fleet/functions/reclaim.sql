-- Reclaim one job that its worker does not go on with:
--   died     the worker is silent: no heartbeat for p_silent_s, or no row of it
--   stopped  the worker said that it stops, and the job was not at its end: a drain, which is not the job's doing
--   overdue  the worker lives, and the claim is past its deadline: a hung thread
-- Its open runs become *unknown*, charged at the reserved worst case. Then it runs again, or ends: as *poison* after
-- p_max_deaths deaths, as *overdue* when deaths and overdue claims together are as many, or when the job asked for
-- on_unknown = fail. A drain counts for neither, and burns no attempt.
-- One job a transaction (locks of several tenants' caps are never held together); the caller repeats until no row.
-- A job that cannot be reclaimed, for what it carries or because somebody holds its caps, is set aside (state
-- *set_aside*).
-- reason: why a job has failed by that.
create or replace function headrace.reclaim(p_silent_s double precision, p_max_deaths integer)
returns table (tenant_id uuid, lane text, job_id uuid, state text, reason text) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_now timestamptz := headrace.now();
    q headrace.queue;
    v_why text;
    v_deaths integer;
    v_overdue integer;
    v_unknown boolean;
    v_on_unknown text;
begin
    -- indexes: queue_overdue, queue_by_worker (for each worker that is gone)
    select x.* into q from headrace.queue x
    where x.state = 'running' and x.claim_deadline < v_now
      and not headrace.is_aside('reclaim', x.tenant_id, x.id, v_now)
    order by x.claim_deadline limit 1 for update skip locked;
    if not found then
        select x.* into q from headrace.queue x
        where x.state = 'running' and not exists (
            select from headrace.workers w where w.id = x.worker_id and w.stopped_at is null
              and w.heartbeat_at >= v_now - make_interval(secs => p_silent_s))
          and not headrace.is_aside('reclaim', x.tenant_id, x.id, v_now)
        limit 1 for update skip locked;
    end if;
    if not found then return; end if;

    v_why := coalesce((select case when w.stopped_at is not null then 'stopped'
                                   when w.heartbeat_at >= v_now - make_interval(secs => p_silent_s) then 'overdue' end
                       from headrace.workers w where w.id = q.worker_id), 'died');
    v_deaths := q.deaths + (v_why = 'died')::integer;
    v_overdue := q.overdue + (v_why = 'overdue')::integer;
    tenant_id := q.tenant_id; lane := q.lane; job_id := q.id;
    begin
        v_unknown := headrace.release(q.tenant_id, q.id, q.claim_id, v_now) > 0;
        v_now := headrace.now();  -- it may have waited for the caps
        select j.on_unknown into v_on_unknown from headrace.jobs j where j.id = q.id and j.tenant_id = q.tenant_id;
        if v_unknown and v_on_unknown = 'fail' then
            perform headrace.end_job(q.tenant_id, q, 'failed', 'outcome_unknown',
                jsonb_build_object('code', 'outcome_unknown',
                'message', case v_why when 'died' then 'its worker fell silent during a call'
                                      when 'stopped' then 'its worker stopped during a call'
                                      else 'its claim ran past its time during a call' end
                           || '; the job asked not to be repeated then'), v_now);
            state := 'failed';
            reason := 'outcome_unknown';
        elsif v_why <> 'stopped' and v_deaths + v_overdue >= p_max_deaths then
            reason := case when v_overdue = 0 then 'poison' else 'overdue' end;
            perform headrace.end_job(q.tenant_id, q, 'failed', reason,
                jsonb_build_object('code', reason,
                    'message', concat_ws(' and ',
                        case when v_deaths > 0 then format('%s workers fell silent while they ran this job',
                            v_deaths) end,
                        case when v_overdue > 0
                            then format('%s claims of this job ran past their time in workers that live',
                            v_overdue) end),
                    'deaths', v_deaths, 'overdue', v_overdue), v_now);
            state := 'failed';
        else
            state := headrace.requeue(q.tenant_id, q, null, 'reclaimed', v_why <> 'stopped', v_why = 'died', v_now,
                p_admitted => v_unknown);
            if v_why = 'overdue' and state = 'queued' then
                update headrace.queue x set overdue = v_overdue where x.id = q.id and x.tenant_id = q.tenant_id;
            end if;
        end if;
        if state <> 'queued' then  -- it did not end by that claim, so whoever still holds it is told that it is lost
            update headrace.jobs j set ended_claim = null where j.id = q.id and j.tenant_id = q.tenant_id;
        end if;
        perform headrace.free_slots_with_notes(q.tenant_id, q.claim_id);
    exception when others then
        if not headrace.is_of_the_row(sqlstate) and sqlstate <> '55P03' then raise; end if;
        perform headrace.put_aside('reclaim', q.tenant_id, q.id, sqlerrm, sqlstate);
        state := 'set_aside';
    end;
    return next;
end $$;
