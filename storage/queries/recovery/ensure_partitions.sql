-- The earliest partition that is missing, made (storage/functions/operations/housekeeping.sql).
select e.outcome, e.missing from headrace.ensure_partitions() e;
