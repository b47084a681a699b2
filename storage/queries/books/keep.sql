-- Several begins and settles of one tenant (storage/functions/runs/keep_books.sql).
select * from headrace.keep_books(%s, %s) order by place;
