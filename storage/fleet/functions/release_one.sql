-- One waiting job → queued, at its own place. It keeps what it waited for until a call is granted, so that its room is
-- not given twice.
create or replace function headrace.release_one(q headrace.queue) returns void language sql as $$
    update headrace.queue x set state = 'queued', run_at = null, reason = null,
        rank = greatest(x.rank, headrace.virtual_time(q.tenant_id, q.lane))
    where x.id = q.id and x.tenant_id = q.tenant_id;
$$;
