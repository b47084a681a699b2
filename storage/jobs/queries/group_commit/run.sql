-- Claims, begins and settles of one tenant or several (storage/jobs/functions/group_commit.sql).
select * from headrace.group_commit(%s::jsonb, %s) order by place;
