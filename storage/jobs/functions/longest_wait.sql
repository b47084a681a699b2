-- How long a job waits at the most before it is looked at again.
create or replace function headrace.longest_wait() returns interval language sql immutable return interval '30 days';
