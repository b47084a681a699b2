-- One user is one user: ids and names are kept in Unicode's composed form (NFC) from now on, whichever way they come in
-- (storage/db/functions/names.sql). What was kept before is composed where that is safe:
--
-- * Tenants' names and external ids.
-- * A cap or a rate that an operator set for a decomposed id, which has bound nobody: it moves to the composed id, unless that
--   has one of its own. Then the composed one stays, since it is the one that has held, and `headrace doctor --audit` names
--   the other.
--
-- Composing may also lengthen a text: one that would be longer than its column takes stays as it is.
--
-- What has come in stays as it is told: jobs, calls, spend by user, and the running totals of caps, which the audit compares
-- with them. So a user who had two forms may spend what either form has left, until the jobs of before have ended. There may be
-- millions of them, and no road would be open while they were written anew. Idempotency keys stay too, for their days: a request
-- that is repeated by SQL with a decomposed key of before is a new job.
--
-- It reads each of these tables once, which takes a second for millions of rows. Row security binds the owner too.
alter table headrace.tenants no force row level security;
update headrace.tenants t set name = normalize(t.name, NFC) where t.name is not nfc normalized and length(normalize(t.name, NFC)) <= 200;
update headrace.tenants t set external_id = normalize(t.external_id, NFC)
where t.external_id is not nfc normalized and length(normalize(t.external_id, NFC)) <= 200
  and not exists (select from headrace.tenants o where o.id <> t.id and normalize(o.external_id, NFC) = normalize(t.external_id, NFC));
alter table headrace.tenants force row level security;

alter table headrace.caps no force row level security;
with odd as (
    select distinct on (c.tenant_id, normalize(c.key, NFC)) c.tenant_id, c.key, normalize(c.key, NFC) as composed, c.limit_usd
    from headrace.caps c
    where c.scope = 'user' and c.limit_usd is not null and octet_length(c.key) <> length(c.key) and c.key is not nfc normalized
      and length(normalize(c.key, NFC)) <= 200
    order by c.tenant_id, normalize(c.key, NFC), c.limit_usd, c.key
),
moved as (
    insert into headrace.caps as c (tenant_id, scope, key, limit_usd, hour)
    select o.tenant_id, 'user', o.composed, o.limit_usd, date_trunc('hour', headrace.now(), 'UTC') from odd o
    on conflict (tenant_id, scope, key) do update set limit_usd = excluded.limit_usd where c.limit_usd is null
    returning c.tenant_id, c.key
)
update headrace.caps c set limit_usd = null
from odd o join moved m on m.tenant_id = o.tenant_id and m.key = o.composed
where c.tenant_id = o.tenant_id and c.scope = 'user' and c.key = o.key;
alter table headrace.caps force row level security;

alter table headrace.rates no force row level security;
with odd as (
    select distinct on (r.tenant_id, normalize(r.key, NFC)) r.tenant_id, r.key, normalize(r.key, NFC) as composed
    from headrace.rates r where r.scope = 'user' and octet_length(r.key) <> length(r.key) and r.key is not nfc normalized
      and length(normalize(r.key, NFC)) <= 200
    order by r.tenant_id, normalize(r.key, NFC), r.per_minute, r.key
)
update headrace.rates r set key = o.composed from odd o
where r.tenant_id = o.tenant_id and r.scope = 'user' and r.key = o.key
  and not exists (select from headrace.rates x where x.tenant_id = o.tenant_id and x.scope = 'user' and x.key = o.composed);
alter table headrace.rates force row level security;
