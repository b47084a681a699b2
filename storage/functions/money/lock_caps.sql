-- Lock the three caps of a job in the one order (tenant → user → feature), made if missing, each rolled to this hour
-- and with its limit worked out (null: no limit). Everybody who touches caps comes through here, so nobody deadlocks.
-- Rolling 24 hours = this hour's bucket + the 24 before it; summed anew only when the hour turned. Who waited for the lock
-- while it turned finds a later hour than its own, and leaves it so.
create or replace function headrace.lock_caps(p_tenant uuid, p_user text, p_feature text, v_now timestamptz)
returns table (scope text, key text, limit_usd numeric, spent_usd numeric, reserved_usd numeric)
language plpgsql as $$
#variable_conflict use_column
declare
    v_hour timestamptz := date_trunc('hour', v_now, 'UTC');
    v_tenant_limit numeric;
    v_user_share numeric;
    v_scopes constant text[] := array['tenant', 'user', 'feature'];
    v_keys constant text[] := array['', p_user, p_feature];
    c headrace.caps;
begin
    select coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd), p.user_share into v_tenant_limit, v_user_share
    from headrace.tenants t join headrace.plans p on p.name = t.plan where t.id = p_tenant;

    for i in 1..3 loop
        select * into c from headrace.caps
        where tenant_id = p_tenant and scope = v_scopes[i] and key = v_keys[i] for no key update;
        if not found then
            insert into headrace.caps (tenant_id, scope, key, hour)
            values (p_tenant, v_scopes[i], v_keys[i], v_hour) on conflict do nothing;
            select * into c from headrace.caps
            where tenant_id = p_tenant and scope = v_scopes[i] and key = v_keys[i] for no key update;
        end if;
        if c.hour < v_hour then
            update headrace.caps k set hour = v_hour, spent_usd = coalesce((
                select sum(b.spent_usd) from headrace.spend_buckets b
                where b.tenant_id = p_tenant and b.scope = v_scopes[i] and b.key = v_keys[i]
                  and b.hour >= v_hour - interval '24 hours'), 0)
            where k.tenant_id = p_tenant and k.scope = v_scopes[i] and k.key = v_keys[i]
            returning k.* into c;
        end if;
        scope := v_scopes[i];
        key := v_keys[i];
        limit_usd := coalesce(c.limit_usd, case i when 1 then v_tenant_limit when 2 then v_tenant_limit * v_user_share end);
        spent_usd := c.spent_usd;
        reserved_usd := c.reserved_usd;
        return next;
    end loop;
end $$;
