-- Caps that say nothing: no limit of their own, nothing reserved, and no spend in the window for their days. They are
-- made again at the next call (lock_caps.sql). Some caps after one by the primary key are looked at; how many are gone,
-- and the last that was looked at (null: there are no more).
with looked_at as (
    select tenant_id, scope, key from headrace.caps
    where (tenant_id, scope, key) > (%(tenant_id)s::uuid, %(scope)s::text, %(key)s::text)
    order by tenant_id, scope, key limit %(limit)s),
idle as (
    select c.tenant_id, c.scope, c.key from headrace.caps c join looked_at s using (tenant_id, scope, key)
    where c.limit_usd is null and c.reserved_usd = 0 and c.hour < headrace.now() - make_interval(days => %(days)s)
    for update of c skip locked),
gone as (
    delete from headrace.caps c using idle i
    where c.tenant_id = i.tenant_id and c.scope = i.scope and c.key = i.key returning 1),
last_one as (
    select * from looked_at order by tenant_id desc, scope desc, key desc limit 1)
select (select count(*) from gone) as gone, l.tenant_id, l.scope, l.key
from (select count(*) as looked from looked_at) n left join last_one l on n.looked = %(limit)s;
