-- Insert a batch of one tenant's jobs (storage/jobs/functions/enqueue_batch.sql). The columns are
-- storage.jobs.jobs.Enqueued's.
select index, job_id, created, lane, error from headrace.enqueue_batch(%s, %s, %s);
