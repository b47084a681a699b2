-- Close one past UTC day of one tenant that has a customer at Stripe and a price for the day: freeze what it is worth,
-- mark it exported and put its event into the outbox, all or nothing. Of the tenants from p_from on (by id) the first
-- that has such a day, its earliest. Returns the day as it is now, or no row.
--
-- The event's value is whole millionths of a dollar, at least 0: the day's worth and what earlier days carried over. So
-- over time all that is owed is exported, to less than a millionth. A day with nothing to export has no event.
-- Its time is the day's last second, so that it falls into an invoiced period that has ended as seldom as can be.
--
-- Safe beside itself and to repeat: whoever holds the tenant closes its days, one after the other, and sees what was
-- closed and carried before. What others hold is left for the next time. Locks: tenant → day.
-- Index: tenants_stripe_customer_id_key for who is billed, billing_open for their days.
create or replace function headrace.close_day(p_from uuid)
returns setof headrace.billing_daily language plpgsql as $$
declare
    v_now timestamptz := headrace.now();
    v_today date := (v_now at time zone 'UTC')::date;
    v_carried numeric;
    t record;
    d headrace.billing_daily;
begin
    for t in
        select x.id, x.stripe_customer_id from headrace.tenants x
        where x.stripe_customer_id is not null and x.id >= p_from and exists (
            select from headrace.billing_daily b where b.tenant_id = x.id and b.exported_at is null and b.day < v_today
            and b.day >= (select min(p.effective_from) from headrace.tenant_prices p where p.tenant_id = x.id))
        order by x.id for no key update skip locked
    loop
        select b.* into d from headrace.billing_daily b
        where b.tenant_id = t.id and b.exported_at is null and b.day < v_today
          and b.day >= (select min(p.effective_from) from headrace.tenant_prices p where p.tenant_id = t.id)
        order by b.day limit 1 for no key update skip locked;
        continue when not found;

        select coalesce(sum(b.revenue_usd - b.billed_micro_usd * 0.000001), 0) into v_carried
        from headrace.billing_daily b where b.tenant_id = t.id and b.exported_at is not null;
        d.revenue_usd := headrace.revenue_of(headrace.tenant_price_at(t.id, d.day), d.platform_usd, d.calls,
            d.input_tokens,
                                             d.output_tokens);
        update headrace.billing_daily b set exported_at = v_now, revenue_usd = d.revenue_usd,
            billed_micro_usd = greatest(0, least(floor((v_carried + d.revenue_usd) * 1000000), 999999999999999))
        where b.tenant_id = t.id and b.day = d.day returning b.* into strict d;

        if d.billed_micro_usd > 0 then
            insert into headrace.outbox (tenant_id, topic, payload)
            values (t.id, 'stripe.meter_event', jsonb_build_object(
                'day', d.day,
                'identifier', format('headrace-%s-%s', t.id, to_char(d.day, 'YYYY-MM-DD')),
                'timestamp', extract(epoch from (d.day + 1)::timestamp at time zone 'UTC')::bigint - 1,
                'payload', jsonb_build_object('stripe_customer_id', t.stripe_customer_id, 'value',
                    d.billed_micro_usd::text)));
        end if;
        return next d;
        return;
    end loop;
end $$;
