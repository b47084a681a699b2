-- Carry out a verdict on a claimed job (storage/functions/jobs/settle.sql).
select headrace.settle(%s, %s, %s, %s, %s, %s) as settled;
