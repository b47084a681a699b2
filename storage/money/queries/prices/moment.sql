-- The database's now: what is in force is decided by its clock.
select headrace.now() as now;
