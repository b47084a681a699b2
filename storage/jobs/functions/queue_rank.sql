-- The start tag of a job that enters the queue (start-time fair queueing over a tenant's users): its user's highest
-- live tag plus the job's own estimate, never behind the lane's virtual time V (virtual_time.sql). Index seeks only
-- (queue_of_user, queue_running, queue_next).
create or replace function headrace.queue_rank(p_tenant uuid, p_lane text, p_user text, p_estimate bigint)
returns bigint language sql stable
return greatest(headrace.virtual_time(p_tenant, p_lane), p_estimate + (
    select max(q.rank) from headrace.queue q
    where q.tenant_id = p_tenant and q.lane = p_lane and q.user_id = p_user));
