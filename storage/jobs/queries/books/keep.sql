-- Claims, begins and settles of one tenant or several (storage/jobs/functions/keep_all_books.sql).
select * from headrace.keep_all_books(%s::jsonb, %s) order by place;
