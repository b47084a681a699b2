-- All that is paused, the longest first. Three small tables.
select p.kind, p.key, p.name, p.paused_at from (
    select 'tenant' as kind, t.id::text as key, t.name, t.paused_at from headrace.tenants t
    where t.paused_at is not null
    union all select 'feature', f.name, f.name, f.paused_at from headrace.features f where f.paused_at is not null
    union all select 'lane', l.name, l.name, l.paused_at from headrace.lanes l where l.paused_at is not null) p
order by p.paused_at, p.kind, p.key;
