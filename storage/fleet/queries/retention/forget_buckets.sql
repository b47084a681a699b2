-- Hourly spend that no window reaches any more, a batch at a time; how many. Index: spend_buckets_age.
with old as (
    select tenant_id, scope, key, hour from headrace.spend_buckets
    where hour < (select headrace.now()) - make_interval(days => %(days)s) order by hour limit %(limit)s
    for update skip locked),
gone as (
    delete from headrace.spend_buckets b using old
    where b.tenant_id = old.tenant_id and b.scope = old.scope and b.key = old.key and b.hour = old.hour returning 1)
select count(*) as gone from gone;
