-- Ask an ended job anew, or find the job that does so already (storage/jobs/functions/run_again.sql).
select job_id, lane, created from headrace.run_again(%s, %s, %s, %s);
