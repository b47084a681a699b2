-- Jobs that wait for providers, by reason: how many of the `most` that are due first, and the longest that one has
-- waited, s.
-- Index: queue_due.
select h.reason, count(*)::integer as jobs, extract(epoch from headrace.now() - min(h.held_since))::float8 as longest_s
from (select q.reason, q.held_since from headrace.queue q
      where q.state = 'scheduled' and q.waits_for is null order by q.run_at limit %(most)s) h
where h.reason in ('provider_held', 'provider_rate_limited')
group by h.reason;
