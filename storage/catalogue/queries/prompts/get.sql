-- One prompt version by id. Index: primary key.
select id, name, version, body, variables, output_schema, max_output_tokens, min_output_tokens
from headrace.prompts where id = %s;
