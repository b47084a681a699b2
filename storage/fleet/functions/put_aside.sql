-- What time and accidents ask for. A chore looks at the oldest first; where it has more than one pass can do, tenants
-- take turns at it: it is told whose turn it is, and each gets the same share of the pass. What it cannot do for what a
-- row carries is set aside, so that the other rows do not wait behind it. `headrace doctor` names it.

-- Set a job aside, or (p_job null) all that a chore would do for a tenant: for a minute the first time, then twice as
-- long each time, an hour at most. Where only a lock was in the way: 5 s.
create or replace function headrace.put_aside(p_chore text, p_tenant uuid, p_job uuid, p_error text, p_sqlstate text)
returns void language sql as $$
    insert into headrace.set_aside as s (tenant_id, chore, job_id, error, until)
    values (p_tenant, p_chore, p_job, left(p_error, 500), headrace.now() + case p_sqlstate when '55P03'
        then interval '5 seconds' else interval '1 minute' end)
    on conflict (tenant_id, chore, job_id) do update set times = s.times + 1, error = excluded.error,
        until = greatest(excluded.until, case when p_sqlstate <> '55P03'
            then headrace.now() + interval '1 minute' * least(60, 2 ^ least(s.times, 6)) end);
$$;
