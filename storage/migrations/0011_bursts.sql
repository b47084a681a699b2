-- A concurrency cap with burst may be passed while threads are idle: the scheduler lends it slots beyond its own
-- (storage/fleet/functions/bursts.sql). A model's cap never: what it bounds is the provider's, not the fleet's.

alter table headrace.concurrency add column burst boolean not null default false, add check (not burst or scope <> 'model');

-- lent: one of those slots. What is neither lent nor retired are as many rows as the cap.
alter table headrace.slots add column lent boolean not null default false;

-- its arguments have changed
drop function if exists headrace.set_concurrency(uuid, text, text, integer, text);
