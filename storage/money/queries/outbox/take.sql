-- Take one event of a topic to try it, the one that has been due longest: nobody else gets it while the lease lasts,
-- and it counts as possibly received from now on. One that counted so for too long is not tried again: the receiver no
-- longer knows it by its identifier. Safe to repeat: another is taken, and the first returns with its lease.
-- Index: outbox_unsent.
update headrace.outbox o
set attempts = o.attempts + 1, next_try_at = headrace.now() + make_interval(secs => %(lease_s)s),
    unsure_since = coalesce(o.unsure_since, headrace.now())
where (o.id, o.tenant_id) = (
    select x.id, x.tenant_id from headrace.outbox x
    where x.topic = %(topic)s and x.sent_at is null and coalesce(x.next_try_at, x.created_at) <= headrace.now()
      and (x.unsure_since is null or x.unsure_since > headrace.now() - make_interval(secs => %(sure_s)s))
    order by coalesce(x.next_try_at, x.created_at), x.id limit 1 for no key update skip locked)
returning o.id, o.tenant_id, o.payload, o.attempts as attempt, old.unsure_since as unsure_before,
    headrace.now() as taken_at;
