-- What was set aside and has ended meanwhile, or has not failed again for a day; how many. Few rows: no index.
with gone as (
    delete from headrace.set_aside s
    where s.until < headrace.now() - interval '1 day'
       or s.job_id is not null and s.until < headrace.now()
          and not exists (select from headrace.queue q where q.id = s.job_id and q.tenant_id = s.tenant_id)
    returning 1)
select count(*) as gone from gone;
