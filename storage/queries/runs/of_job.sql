-- Every run of a job, oldest first. Index: runs_by_job.
select * from headrace.runs where job_id = %s order by id;
