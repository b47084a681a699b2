-- The earliest partition that is missing, made (storage/db/functions/ensure_partitions.sql).
select e.outcome, e.missing from headrace.ensure_partitions() e;
