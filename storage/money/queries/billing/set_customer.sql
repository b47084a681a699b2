-- Say which customer at Stripe a tenant is (null: none any more), and who said so. Events that wait go to the new one,
-- save those that Stripe may have already; one that it refused for its customer is so tried anew.
with before as (select id, stripe_customer_id from headrace.tenants where id = %(tenant_id)s for no key update),
changed as (
    update headrace.tenants t set stripe_customer_id = %(customer)s from before b where t.id = b.id
    returning t.id, t.stripe_customer_id
),
waiting as (
    update headrace.outbox o
    set payload = jsonb_set(o.payload, '{payload,stripe_customer_id}', to_jsonb(c.stripe_customer_id)),
        next_try_at = null
    from changed c
    where o.tenant_id = c.id and o.topic = 'stripe.meter_event' and o.sent_at is null and o.unsure_since is null
      and c.stripe_customer_id is not null
)
insert into headrace.audit (tenant_id, actor, action, target, before, after)
select c.id, %(actor)s, 'billing.set_customer', 'stripe_customer_id', to_jsonb(b.stripe_customer_id),
       to_jsonb(c.stripe_customer_id)
from changed c join before b on b.id = c.id;
