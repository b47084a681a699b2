-- Partitions of the months ahead (storage/functions/operations/housekeeping.sql).
select headrace.ensure_partitions() as made;
