-- How many jobs of the tenant on the lane stand before one (by rank, then id), and how many of those are of its own
-- user; of each no more than `most` are looked at. What belongs to a paused feature is in nobody's way; what
-- waits for a slot of another feature neither. Indexes: queue_next,
-- queue_of_user.
select (select count(*) from (
            select q.feature from headrace.queue q
            where q.tenant_id = %(tenant_id)s and q.lane = %(lane)s and q.state = 'queued'
              and (q.rank, q.id) < (%(rank)s, %(job_id)s)
            order by q.rank, q.id limit %(most)s) a
        where not exists (select from headrace.features f where f.name = a.feature and f.paused_at is not null)
          and (a.feature = %(feature)s or not exists (
              select from headrace.concurrency c
              where c.tenant_id = %(tenant_id)s and c.scope = 'feature' and c.key = a.feature and not exists (
                  select from headrace.slots s
                  where s.cap_key = headrace.slot_key(c.tenant_id, c.scope, c.key) and s.claim_id is null))))::integer
           as of_tenant,
       (select count(*) from (
            select q.feature from headrace.queue q
            where q.tenant_id = %(tenant_id)s and q.lane = %(lane)s and q.user_id = %(user_id)s and q.state = 'queued'
              and q.rank <= %(rank)s and (q.rank, q.id) < (%(rank)s, %(job_id)s)
            order by q.rank limit %(most)s) a
        where not exists (select from headrace.features f
            where f.name = a.feature and f.paused_at is not null))::integer
           as of_user;
