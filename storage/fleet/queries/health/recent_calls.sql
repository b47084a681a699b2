-- The calls on the platform's own keys that began within `window_s`, the newest `most` of them, by provider and by what
-- became of them, and for how long the last of each kind has been begun, s. Index: the primary key of runs, whose ids
-- are in the order of time; partitions are pruned.
select r.provider, r.status, r.error_code, count(*)::integer as calls,
       extract(epoch from headrace.now() - max(r.created_at))::float8 as last_s_ago
from (select x.provider, x.status, x.error_code, x.created_at, x.key_owner from headrace.runs x
      -- once, or no index would do
      where x.id >= (select headrace.uuid_at(headrace.now() - make_interval(secs => %(window_s)s)))
      order by x.id desc limit %(most)s) r
where r.key_owner = 'platform'
group by r.provider, r.status, r.error_code;
