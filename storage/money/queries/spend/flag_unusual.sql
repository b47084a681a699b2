-- Leave a notice for each of some days of unusual spend that has none yet; which ones. One at a time (one_flags.sql),
-- so no two find the same one missing. Notices are few, and this runs by the hour: no index.
insert into headrace.outbox (tenant_id, topic, payload)
select n.tenant_id, 'spend.unusual', n.payload
from jsonb_to_recordset(%(notices)s) as n(tenant_id uuid, payload jsonb)
where not exists (
    select from headrace.outbox o
    where o.tenant_id = n.tenant_id and o.topic = 'spend.unusual' and o.payload ->> 'day' = n.payload ->> 'day'
      and o.payload ->> 'scope' = n.payload ->> 'scope' and o.payload ->> 'key' = n.payload ->> 'key')
returning tenant_id, payload ->> 'scope' as scope, payload ->> 'key' as key;
