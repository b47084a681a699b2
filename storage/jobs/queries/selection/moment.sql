-- The time as the functions take it.
select headrace.now() as now;
