-- Put a waiting job into another list, if it is not there already.
create or replace function headrace.wait_elsewhere(
    q headrace.queue, p_waits_for text, p_reason text, p_run_at timestamptz)
returns void language sql as $$
    update headrace.queue x set waits_for = p_waits_for, reason = p_reason, run_at = coalesce(p_run_at, x.run_at)
    where x.id = q.id and x.tenant_id = q.tenant_id and x.waits_for <> p_waits_for;
$$;
