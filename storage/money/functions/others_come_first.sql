-- Whether somebody else is to be let in under a cap before this job: one that waits (or was just released) for others'
-- reservations to settle and stands before it in its lane, or in a lane of more weight. Without this, many small jobs
-- would keep a big one waiting for ever. Index: queue_waiting.
create or replace function headrace.others_come_first(
    p_tenant uuid, p_job uuid, p_lane text, p_rank bigint, p_scope text, p_key text)
returns boolean language sql stable
return exists (
    select from headrace.queue w
    where w.tenant_id = p_tenant and w.waits_for = 'room:' || p_scope || ':' || p_key and w.lane = p_lane
      and (w.rank, w.id) < (p_rank, p_job)
      and not exists (select from headrace.features f where f.name = w.feature and f.paused_at is not null))
or exists (
    select from headrace.lanes mine
    join headrace.lanes l on l.weight > mine.weight and l.paused_at is null
    join headrace.queue w on w.tenant_id = p_tenant and w.waits_for = 'room:' || p_scope || ':' || p_key
        and w.lane = l.name
    where mine.name = p_lane
      and not exists (select from headrace.features f where f.name = w.feature and f.paused_at is not null));
