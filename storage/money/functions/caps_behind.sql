-- The scopes of those caps under which other jobs are to be let in before this one (others_come_first.sql); null: there
-- are none. p_waits_for: the list from which the job was admitted, if it was from one. It must not queue behind that
-- list again, even though requeueing gave it a new, higher rank. Index: queue_waiting.
create or replace function headrace.caps_behind(p_tenant uuid, p_job uuid, p_lane text, p_rank bigint, p_waits_for text,
                                                p_caps headrace.locked_cap[])
returns text[] language plpgsql stable as $$
begin
    if not exists (
        select from headrace.queue w where w.tenant_id = p_tenant and w.waits_for >= 'room:' and w.waits_for < 'room;')
    then return null; end if;
    return array(
        select c.scope from unnest(p_caps) c
        where c.limit_usd is not null and p_waits_for is distinct from 'room:' || c.scope || ':' || c.key
          and headrace.others_come_first(p_tenant, p_job, p_lane, p_rank, c.scope, c.key));
end $$;
