-- How far the time inside a job's id may be ahead of the database's: clocks differ, but partitions are months of ids.
create or replace function headrace.id_ahead() returns interval language sql immutable return interval '10 minutes';
