-- The events that wait and did not do when they were tried, oldest day first, and whether each is held for a person.
select coalesce(t.name, o.tenant_id::text) as tenant, o.tenant_id, (o.payload ->> 'day')::date as day, o.attempts,
       o.last_error as error, o.next_try_at,
       coalesce(o.unsure_since <= headrace.now() - make_interval(secs => %(sure_s)s), false) as held
from headrace.outbox o left join headrace.tenants t on t.id = o.tenant_id
where o.topic = 'stripe.meter_event' and o.sent_at is null and o.attempts > 0
order by day, tenant, o.tenant_id limit %(limit)s;
