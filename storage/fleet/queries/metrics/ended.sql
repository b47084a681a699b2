-- Of the newest jobs that came in within `window_s`, no more than `most`, those that have ended, by outcome. Index: the
-- primary key of jobs, whose ids are in the order of time; partitions are pruned.
select j.outcome, count(*)::bigint as jobs from (
    select x.outcome from headrace.jobs x
    -- once, or no index would do
    where x.id >= (select headrace.uuid_at(headrace.now() - make_interval(secs => %(window_s)s)))
    order by x.id desc limit %(most)s) j
where j.outcome is not null
group by j.outcome order by j.outcome;
