-- Worker processes that have been silent for their days and hold no job, and schedulers that have been; how many. A row
-- for each start of a process: no index.
with old as (
    select w.id from headrace.workers w
    where w.heartbeat_at < headrace.now() - make_interval(days => %(days)s)
      and not exists (select from headrace.queue q where q.worker_id = w.id and q.state = 'running')
    limit %(limit)s for update skip locked),
gone as (
    delete from headrace.workers w using old where w.id = old.id returning 1),
old_schedulers as (
    select s.id from headrace.schedulers s
    where s.heartbeat_at < headrace.now() - make_interval(days => %(days)s) limit %(limit)s for update skip locked),
gone_schedulers as (
    delete from headrace.schedulers s using old_schedulers o where s.id = o.id returning 1)
select (select count(*) from gone) + (select count(*) from gone_schedulers) as gone;
