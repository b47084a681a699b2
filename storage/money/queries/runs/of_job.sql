-- Every run of a job, oldest first. Index: runs_by_job.
select * from headrace.runs where job_id = %(job_id)s and tenant_id = %(tenant_id)s order by id;
