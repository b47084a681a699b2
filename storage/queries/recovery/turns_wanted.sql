-- What the wire should hold (storage/functions/operations/recovery.sql).
select tenant_id, lane, turns from headrace.turns_wanted(%s);
