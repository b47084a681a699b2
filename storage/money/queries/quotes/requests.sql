-- What enqueue would say to many requests, and where each would stand (storage/money/functions/quote_requests.sql).
select n, error, job_id, rank, plan, prompt_id, context, output_schema from headrace.quote_requests(%s, %s) order by n;
