-- Lock the three caps of a job in the one order (tenant → user → feature), made if missing, each rolled to this hour
-- and with its limit worked out (null: no limit). Everybody who touches caps comes through here, so nobody deadlocks.
-- Rolling 24 hours = this hour's bucket + the 24 before it; summed anew only when the hour turned.
--
-- The time is read when all three are held (`at`), since the hour may turn during the wait. The caller books by that
-- time
-- and by no earlier one: a call that started in an hour which the window has left behind would spend the same dollar
-- twice.
create or replace function headrace.lock_caps(p_tenant uuid, p_user text, p_feature text)
returns headrace.locked_cap[] language plpgsql as $$
declare
    v_at timestamptz;
    v_hour timestamptz;
    v_tenant_limit numeric;
    v_user_share numeric;
    v_scopes constant text[] := array['tenant', 'user', 'feature'];
    v_keys constant text[] := array['', p_user, p_feature];
    v_found headrace.caps[];
    v_locked headrace.locked_cap[];
    c headrace.caps;
begin
    select coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd), p.user_share into v_tenant_limit, v_user_share
    from headrace.tenants t join headrace.plans p on p.name = t.plan where t.id = p_tenant;

    -- the usual: they are there. Not without the tenant's, which has to be the first that is locked
    select array_agg(k) into v_found from (
        select x as k from headrace.caps x
        where x.tenant_id = p_tenant and (x.scope, x.key) in (('tenant', ''), ('user', p_user), ('feature', p_feature))
          and exists (select from headrace.caps t where t.tenant_id = p_tenant and t.scope = 'tenant' and t.key = '')
        order by array_position(v_scopes, x.scope) for no key update) l;
    if array_length(v_found, 1) is distinct from 3 then
        v_found := '{}';
        for i in 1..3 loop
            loop  -- one that said nothing may be forgotten just between the two
                insert into headrace.caps (tenant_id, scope, key, hour)
                values (p_tenant, v_scopes[i], v_keys[i], date_trunc('hour', headrace.now(), 'UTC'))
                on conflict do nothing;
                select * into c from headrace.caps
                where tenant_id = p_tenant and scope = v_scopes[i] and key = v_keys[i] for no key update;
                exit when found;
            end loop;
            v_found := v_found || c;
        end loop;
    end if;

    v_at := headrace.now();
    v_hour := date_trunc('hour', v_at, 'UTC');
    for i in 1..3 loop
        c := v_found[i];
        if c.hour < v_hour then
            update headrace.caps k
            set hour = v_hour, spent_usd = headrace.spent_in_window(p_tenant, v_scopes[i], v_keys[i], v_hour)
            where k.tenant_id = p_tenant and k.scope = v_scopes[i] and k.key = v_keys[i]
            returning k.* into c;
        end if;
        v_locked[i] := row(c.scope, c.key, headrace.cap_limit(c.limit_usd, c.scope, v_tenant_limit, v_user_share),
                           c.spent_usd, c.reserved_usd, v_at);
    end loop;
    return v_locked;
end $$;
