-- How far each tenant's past days are: open (no price or no customer yet, or just about to be closed), and of the
-- closed ones: with nothing to send, sent, waiting, failed (waiting after a try that did not do), and held (Stripe may
-- have it, but it can no longer be asked without the risk of counting twice: a person decides).
select coalesce(t.name, b.tenant_id::text) as tenant, b.tenant_id, t.stripe_customer_id,
       count(*) filter (where b.exported_at is null and b.day < (headrace.now() at time zone 'UTC')::date) as open_days,
       count(*) filter (where b.exported_at is not null) as closed_days,
       -- an event that was sent is forgotten later; one that was not sent stays
       count(*) filter (where o.sent_at is not null or o.id is null and b.billed_micro_usd > 0) as sent_days,
       count(*) filter (where w.waits and not w.held and o.last_error is null) as waiting_days,
       count(*) filter (where w.waits and not w.held and o.last_error is not null) as failed_days,
       count(*) filter (where w.held) as held_days,
       trim_scale(coalesce(sum(b.billed_micro_usd), 0) * 0.000001) as billed_usd,
       trim_scale(coalesce(sum(b.revenue_usd - b.billed_micro_usd * 0.000001), 0)) as carried_usd
from headrace.billing_daily b
left join headrace.tenants t on t.id = b.tenant_id
left join headrace.outbox o on o.tenant_id = b.tenant_id and o.topic = 'stripe.meter_event'
     and o.payload ->> 'identifier' = format('headrace-%%s-%%s', b.tenant_id, to_char(b.day, 'YYYY-MM-DD'))
cross join lateral (select o.id is not null and o.sent_at is null as waits,
                           o.sent_at is null and coalesce(o.unsure_since
                               <= headrace.now() - make_interval(secs => %(sure_s)s), false) as held) w
group by b.tenant_id, t.name, t.stripe_customer_id order by tenant, b.tenant_id;
