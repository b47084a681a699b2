-- Ask an ended job anew (storage/functions/jobs/run_again.sql).
select headrace.run_again(%s, %s, %s, %s) as lane;
