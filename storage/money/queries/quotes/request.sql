-- What enqueue would say to a request, and the job as a claim would find it (storage/money/functions/quote_request.sql).
select error, job_id, rank, plan, prompt_id, feature, variables, messages, context, output_schema, max_output_tokens,
       force_tier
from headrace.quote_request(%s, %s);
