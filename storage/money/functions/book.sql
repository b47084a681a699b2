-- Book a change of one run under its three caps, which the caller has locked (lock_caps.sql): `d_spent` in the bucket
-- of the run's start, `d_reserved` released or taken. Crossing 80 % of spent warns once; falling under 75 % re-arms
-- (DESIGN: soft limit).
create or replace function headrace.book(p_tenant uuid, v_caps headrace.locked_cap[], started timestamptz,
                                         d_spent numeric, d_reserved numeric)
returns void language plpgsql as $$
declare
    v_now constant timestamptz := v_caps[1].at;
    v_hour timestamptz := date_trunc('hour', started, 'UTC');
begin
    if d_spent <> 0 then
        insert into headrace.spend_buckets as b (tenant_id, scope, key, hour, spent_usd)
        select p_tenant, c.scope, c.key, v_hour, d_spent from unnest(v_caps) c
        on conflict (tenant_id, scope, key, hour) do update set spent_usd = b.spent_usd + excluded.spent_usd;
    end if;
    with changed as (
        update headrace.caps k
        set spent_usd = n.spent_usd,
            reserved_usd = k.reserved_usd + d_reserved,
            warned_at = case when n.spent_usd >= 0.80 * c.limit_usd then
                                  case when c.spent_usd < 0.75 * c.limit_usd then v_now
                                      else coalesce(k.warned_at, v_now) end
                             when n.spent_usd < 0.75 * c.limit_usd then null else k.warned_at end
        from unnest(v_caps) c
        join headrace.caps o on o.tenant_id = p_tenant and o.scope = c.scope and o.key = c.key
        cross join lateral (
            select c.spent_usd + case when v_hour >= o.hour - interval '24 hours' then d_spent
                else 0 end as spent_usd) n
        where k.tenant_id = p_tenant and k.scope = c.scope and k.key = c.key
        returning k.scope, k.key, k.spent_usd, c.limit_usd,
            -- spend that left the window with the hour has re-armed the warning, though nobody was there to note it
            k.spent_usd >= 0.80 * c.limit_usd and (old.warned_at is null or c.spent_usd < 0.75 * c.limit_usd) as crossed
    )
    insert into headrace.outbox (tenant_id, topic, payload)
    select p_tenant, 'cap.soft_limit', jsonb_build_object('scope', w.scope, 'key', w.key, 'spent_usd',
        w.spent_usd::text,
                                                          'limit_usd', w.limit_usd::text, 'at', v_now)
    from changed w where w.crossed;
end $$;
