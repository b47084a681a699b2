-- What happened to jobs, older than its days, a batch at a time and one scheduler at a time; how many. Ids are in the
-- order of time: only the lowest are looked at. Index: primary key.
with lowest as (
    select id, tenant_id, at from headrace.job_events where (select headrace.hold_chore('forget')) order by id
    limit %(limit)s),
gone as (
    delete from headrace.job_events e using lowest l
    where e.id = l.id and e.tenant_id = l.tenant_id and l.at < headrace.now() - make_interval(days => %(days)s)
    returning 1)
select count(*) as gone from gone;
