-- How each chore does. Few rows.
select c.name, c.every_s, c.failures, c.last_error,
       extract(epoch from headrace.now() - c.failed_at)::float8 as failed_s_ago,
       extract(epoch from headrace.now() - c.done_at)::float8 as done_s_ago
from headrace.chores c order by c.name;
