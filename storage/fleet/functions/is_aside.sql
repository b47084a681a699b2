-- Whether a chore passes a job by. Hardly ever are there any: one look at an index that is empty.
create or replace function headrace.is_aside(p_chore text, p_tenant uuid, p_job uuid, v_now timestamptz)
returns boolean language sql stable
return exists (select from headrace.set_aside s
               where s.tenant_id = p_tenant and s.chore = p_chore and s.job_id is not distinct from p_job
                 and s.until > v_now);
