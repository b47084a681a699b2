-- Book a change of one run under its three caps: `d_spent` in the bucket of the run's start, `d_reserved` released or
-- taken. Locks caps in the one order. Crossing 80 % of spent warns once; falling under 75 % re-arms (DESIGN: soft limit).
create or replace function headrace.book(p_tenant uuid, p_user text, p_feature text, started timestamptz,
                                         d_spent numeric, d_reserved numeric, v_now timestamptz)
returns void language plpgsql as $$
declare
    c record;
    v_hour timestamptz := date_trunc('hour', started, 'UTC');
    v_spent numeric;
    v_crossed boolean;
begin
    for c in select * from headrace.lock_caps(p_tenant, p_user, p_feature, v_now) loop
        if d_spent <> 0 then
            insert into headrace.spend_buckets as b (tenant_id, scope, key, hour, spent_usd)
            values (p_tenant, c.scope, c.key, v_hour, d_spent)
            on conflict (tenant_id, scope, key, hour) do update set spent_usd = b.spent_usd + excluded.spent_usd;
        end if;
        select c.spent_usd + case when v_hour >= k.hour - interval '24 hours' then d_spent else 0 end into v_spent
        from headrace.caps k where k.tenant_id = p_tenant and k.scope = c.scope and k.key = c.key;
        update headrace.caps k
        set spent_usd = v_spent,
            reserved_usd = k.reserved_usd + d_reserved,
            warned_at = case when v_spent >= 0.80 * c.limit_usd then
                                  case when c.spent_usd < 0.75 * c.limit_usd then v_now else coalesce(k.warned_at, v_now) end
                             when v_spent < 0.75 * c.limit_usd then null else k.warned_at end
        where k.tenant_id = p_tenant and k.scope = c.scope and k.key = c.key
        -- spend that left the window with the hour has re-armed the warning, though nobody was there to note it
        returning v_spent >= 0.80 * c.limit_usd and (old.warned_at is null or c.spent_usd < 0.75 * c.limit_usd) into v_crossed;
        if v_crossed then
            insert into headrace.outbox (tenant_id, topic, payload)
            values (p_tenant, 'cap.soft_limit', jsonb_build_object('scope', c.scope, 'key', c.key,
                    'spent_usd', v_spent::text, 'limit_usd', c.limit_usd::text, 'at', v_now));
        end if;
    end loop;
end $$;
