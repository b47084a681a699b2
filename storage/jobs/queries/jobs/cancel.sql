-- Cancel a job (storage/jobs/functions/cancel.sql).
select headrace.cancel(%s, %s, %s) as cancelled;
