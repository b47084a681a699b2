-- The rate behind a list of waiting jobs ('rate:<scope>:<key>'), requests a minute; null when there is none any more.
create or replace function headrace.rate_now(p_tenant uuid, p_waits_for text)
returns integer language sql stable
begin atomic
    select case l.scope
        when 'tenant' then coalesce(
            (select r.per_minute from headrace.rates r where r.tenant_id = p_tenant and r.scope = 'tenant'),
            p.tenant_per_minute)
        when 'feature' then (
            select r.per_minute from headrace.rates r
            where r.tenant_id = p_tenant and r.scope = 'feature' and r.key = l.key)
        when 'feature_user' then coalesce(
            (select r.per_minute from headrace.rates r
             where r.tenant_id = p_tenant and r.scope = 'feature_user' and r.key = split_part(l.key, ':', 1)),
            (select f.user_per_minute from headrace.features f where f.name = split_part(l.key, ':', 1)))
        when 'user' then coalesce(
            (select r.per_minute from headrace.rates r
             where r.tenant_id = p_tenant and r.scope = 'user' and r.key = l.key),
            (select r.per_minute from headrace.rates r
             where r.tenant_id = p_tenant and r.scope = 'user' and r.key = ''),
            p.user_per_minute) end
    from headrace.tenants t
    join headrace.plans p on p.name = t.plan
    cross join lateral (select split_part(p_waits_for, ':', 2) as scope,
                               substr(p_waits_for, length(split_part(p_waits_for, ':', 2)) + 7) as key) l
    where t.id = p_tenant;
end;
