-- Cancel a job (storage/functions/jobs/cancel.sql).
select headrace.cancel(%s, %s, %s) as cancelled;
