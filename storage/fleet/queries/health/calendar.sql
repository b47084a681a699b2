-- How many whole months of UTC after this one have their partitions, up to six, and how large the default partitions
-- are.
select greatest(coalesce(min(extract(year from m.of) * 12 + extract(month from m.of)) - max(n.month) - 1, 6), 0)
       ::integer as months_ahead,
       (pg_relation_size('headrace.jobs_default') + pg_relation_size('headrace.runs_default'))::bigint as default_bytes
from (select extract(year from u.at) * 12 + extract(month from u.at) as month
      from (select headrace.now() at time zone 'UTC' as at) u) n
left join lateral (select x.since at time zone 'UTC' as of from headrace.months_missing(6) x) m on true;
