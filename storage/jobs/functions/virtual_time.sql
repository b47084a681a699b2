-- The virtual time V of a lane, which no start tag is behind (queue_rank.sql). V = the lane's highest running rank,
-- else its lowest queued, else 0. Index seeks only (queue_running, queue_next).
create or replace function headrace.virtual_time(p_tenant uuid, p_lane text) returns bigint language sql stable
return coalesce(
    (select max(q.rank) from headrace.queue q where q.tenant_id = p_tenant and q.lane = p_lane and q.state = 'running'),
    (select min(q.rank) from headrace.queue q where q.tenant_id = p_tenant and q.lane = p_lane and q.state = 'queued'),
    0);
