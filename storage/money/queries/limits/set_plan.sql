-- Change what a plan gives its tenants, {"<column>": "<value>" or null, …}, and say who did it: one audit row for its
-- caps, one for its rates, of no tenant. Whoever begins or claims reads the plan fresh. No row: there is no such plan.
with asked as (select %(changes)s::jsonb as changes),
changed as (
    update headrace.plans p set
        daily_cost_cap_usd = case when a.changes ? 'daily_cost_cap_usd'
            then (a.changes ->> 'daily_cost_cap_usd')::numeric
                             else p.daily_cost_cap_usd end,
        user_share = case when a.changes ? 'user_share' then (a.changes ->> 'user_share')::numeric
            else p.user_share end,
        user_per_minute = case when a.changes ? 'user_per_minute' then (a.changes ->> 'user_per_minute')::integer
                          else p.user_per_minute end,
        tenant_per_minute = case when a.changes ? 'tenant_per_minute' then (a.changes ->> 'tenant_per_minute')::integer
                            else p.tenant_per_minute end
    from asked a where p.name = %(plan)s
    returning p.name, new.weight, new.daily_cost_cap_usd, new.user_share, new.user_per_minute, new.tenant_per_minute,
              old.daily_cost_cap_usd as was_cap, old.user_share as was_share, old.user_per_minute as was_user,
              old.tenant_per_minute as was_tenant
),
noted as (
    insert into headrace.audit (actor, action, target, before, after)
    select %(actor)s, f.action, 'plan:' || c.name, jsonb_object_agg(f.field, f.before),
           jsonb_object_agg(f.field, f.after)
    from changed c cross join asked a
    cross join lateral (values
        ('limits.set_cap', 'daily_cost_cap_usd', to_jsonb(c.was_cap::text), to_jsonb(c.daily_cost_cap_usd::text)),
        ('limits.set_cap', 'user_share', to_jsonb(c.was_share::text), to_jsonb(c.user_share::text)),
        ('limits.set_rate', 'user_per_minute', to_jsonb(c.was_user), to_jsonb(c.user_per_minute)),
        ('limits.set_rate', 'tenant_per_minute', to_jsonb(c.was_tenant), to_jsonb(c.tenant_per_minute))
    ) f(action, field, before, after)
    where a.changes ? f.field group by c.name, f.action
)
select c.name, c.weight, c.daily_cost_cap_usd, c.user_share, c.user_per_minute, c.tenant_per_minute from changed c;
