-- Insert a batch of one tenant's jobs (storage/functions/jobs/enqueue_batch.sql). The columns are storage.jobs.Enqueued's.
select index, job_id, created, lane, error from headrace.enqueue_batch(%s, %s, %s);
