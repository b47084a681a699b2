-- A person has looked at Stripe: an event that waits is there (sent), or is not (to be tried again, at once). Who said
-- so is written down. No row when there is no such event.
with found as (
    select id, tenant_id, attempts, unsure_since, last_error from headrace.outbox
    where tenant_id = %(tenant_id)s and topic = 'stripe.meter_event' and sent_at is null
      and (payload ->> 'day')::date = %(day)s::date for update
),
changed as (
    update headrace.outbox o
    set sent_at = case when %(sent)s then headrace.now() end, unsure_since = null, next_try_at = null, last_error = null
    from found f where o.id = f.id and o.tenant_id = f.tenant_id
    returning o.id
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select f.tenant_id, %(actor)s, 'billing.resolve', %(day)s::date::text, to_jsonb(f),
       to_jsonb(case when %(sent)s then 'sent' else 'again' end::text)
from found f join changed c on c.id = f.id
returning id;
