-- The request rates that bind a job, [{"scope", "key", "per_minute", "behind"}, …], or null: of the tenant, of the
-- feature in all, and of the user. A user's own rate comes first; else the feature's for each of its users, in a count
-- of its own; else the tenant's for every user, or the plan's. behind: others of its lane wait for that rate, and stand
-- before it.
-- Nobody stands before who was let in: it was its turn, though it came back with the rank of now.
create or replace function headrace.rates_of(p_tenant uuid, p_plan headrace.plans, q headrace.queue)
returns jsonb language sql stable
begin atomic
    with own as (
        select r.scope, r.key, r.per_minute from headrace.rates r
        where r.tenant_id = p_tenant
          and (r.scope, r.key) in (('tenant', ''), ('user', ''), ('user', q.user_id),
                                   ('feature', q.feature), ('feature_user', q.feature))
    ),
    of_users as (
        select coalesce((select per_minute from own where scope = 'feature_user'),
                        (select f.user_per_minute from headrace.features f where f.name = q.feature)) as per_minute
    ),
    binding as (
        select 'tenant' as scope, '' as key,
               coalesce((select per_minute from own where scope = 'tenant'), p_plan.tenant_per_minute) as per_minute
        union all
        select 'feature', q.feature, (select per_minute from own where scope = 'feature')
        union all
        select case when u.per_minute is not null and o.per_minute is null then 'feature_user' else 'user' end,
               case when u.per_minute is not null and o.per_minute is null then q.feature || ':' || q.user_id
                    else q.user_id end,
               coalesce(o.per_minute, u.per_minute, (select per_minute from own where scope = 'user' and key = ''),
                        p_plan.user_per_minute)
        from of_users u left join own o on o.scope = 'user' and o.key = q.user_id
    )
    select jsonb_agg(jsonb_build_object('scope', b.scope, 'key', b.key, 'per_minute', b.per_minute, 'behind',
               q.waits_for is distinct from 'rate:' || b.scope || ':' || b.key and exists (
                   select from headrace.queue w
                   where w.tenant_id = p_tenant and w.waits_for = 'rate:' || b.scope || ':' || b.key and w.lane = q.lane
                     and w.state = 'scheduled' and w.rank < q.rank)))
    from binding b where b.per_minute is not null;
end;
