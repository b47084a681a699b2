-- A claim skips what cannot run by an index: of a paused feature, or of one whose concurrency cap is full, it reads nothing.
-- docs/decisions/0026-a-claim-is-bounded.md.

-- one seek finds the first queued job of a feature, and the next feature that has any
create index queue_by_feature on headrace.queue (tenant_id, lane, feature, rank, id) where state = 'queued';

-- What waited for a feature's slot in a list waits in the queue from now on. Row security binds the owner too.
alter table headrace.queue no force row level security;
update headrace.queue set state = 'queued', run_at = null, reason = null
where waits_for like 'slot:feature:%' and state = 'scheduled';
update headrace.queue set waits_for = null where waits_for like 'slot:feature:%';
alter table headrace.queue force row level security;
alter table headrace.queue drop constraint queue_waits_for_check;
alter table headrace.queue add constraint queue_waits_for_check
    check (waits_for ~ '^((cap|room|rate):(tenant|user|feature|feature_user)|slot:model):');

-- it moved what is left where it is now; the other one's result has changed
drop function if exists headrace.wait_for_slot(uuid, text, text, uuid, integer, timestamptz);
drop function if exists headrace.bursting(integer);
