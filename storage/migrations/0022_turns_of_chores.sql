-- Chores take turns by tenant: their arguments have changed, and nothing was released with the old ones.
drop function if exists headrace.release_due(integer);
drop function if exists headrace.expire(integer);
drop function if exists headrace.drain_wakes(integer);
drop function if exists headrace.waiting_lists(text[]);
drop function if exists headrace.release_for_money(integer);
drop function if exists headrace.release_for_slots(integer, double precision);

-- The notes of one tenant, in their order.
drop index headrace.wakes_of_tenant;
create index wakes_of_tenant on headrace.wakes (tenant_id, id);

-- Jobs that were let in from a list and have not got their call yet. Without it, a look at them reads all that wait.
create index queue_let_in on headrace.queue (tenant_id, waits_for) include (need_usd)
    where waits_for is not null and state <> 'scheduled';
