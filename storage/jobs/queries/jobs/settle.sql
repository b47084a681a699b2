-- Carry out a verdict on a claimed job (storage/jobs/functions/settle.sql).
select settled as state, offers from headrace.settle(%s, %s, %s, %s::jsonb, %s, %s::jsonb);
