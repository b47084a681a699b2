-- Lend slots to caps with burst while threads are idle, and take them back (storage/fleet/functions/lend_slots.sql).
select tenant_id, lane, turns from headrace.lend_slots(%s, %s);
