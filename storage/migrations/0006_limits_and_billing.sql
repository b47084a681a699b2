-- Money, second part: jobs that wait for room, request rates, what tenants are billed.

-- What must have room before a job runs again, from the moment that a guard turned it away until a call is granted:
-- 'cap:<scope>:<key>' (the window has to free some), 'room:<scope>:<key>' (others have to settle under that cap), both with
-- what the job would reserve at least, USD; or 'rate:<scope>:<key>'. While such a job is *scheduled* it is released by room
-- and not by time; run_at only says when room is expected.
alter table headrace.queue
    add column waits_for text check (waits_for ~ '^(cap|room|rate):(tenant|user|feature|feature_user):'),
    add column need_usd numeric check (need_usd >= 0),
    add check (need_usd is null or waits_for is not null);
drop index headrace.queue_due;
create index queue_due on headrace.queue (run_at) where state = 'scheduled' and waits_for is null;
create index queue_waiting on headrace.queue (tenant_id, waits_for, lane, rank, id) where waits_for is not null;
create index queue_waiting_need on headrace.queue (tenant_id, waits_for, need_usd) where need_usd is not null;

-- their arguments or results have changed; nothing was released with the old ones
drop function if exists headrace.begin(uuid, uuid, uuid, uuid, text, text, text, text, text, boolean, bigint, integer, integer,
    uuid, text, jsonb);
drop function if exists headrace.claim(uuid, text, uuid, uuid, double precision, integer, boolean);
drop function if exists headrace.put_back(uuid, headrace.queue, timestamptz, text, boolean, boolean, timestamptz);
drop function if exists headrace.cost_of(headrace.model_prices, bigint, bigint, bigint, bigint);
drop function if exists headrace.worst_case(headrace.model_prices, bigint, bigint);

-- Requests a minute. A plan's hold for each of its tenants; a feature's for each user of the feature, in a count of its
-- own; null: no limit of that kind.
alter table headrace.plans
    add column tenant_per_minute integer check (tenant_per_minute >= 1),
    add column user_per_minute integer default 60 check (user_per_minute >= 1);
alter table headrace.features
    add column user_per_minute integer check (user_per_minute >= 1);

-- A tenant's own, before the plan's and the feature's: of the tenant ('tenant', ''), of every user of it ('user', ''), of
-- one user ('user', id), of a feature in all ('feature', name), of each user in a feature ('feature_user', name).
create table headrace.rates (
    tenant_id           uuid not null,
    scope               text not null check (scope in ('tenant', 'user', 'feature', 'feature_user')),
    key                 text not null,
    per_minute          integer not null check (per_minute >= 1),
    primary key (tenant_id, scope, key),
    check (scope <> 'tenant' or key = ''),
    check (scope not in ('feature', 'feature_user') or key <> '')
);

-- A cap as it is locked: who works under several of them at once hands them on.
create type headrace.locked_cap as (
    scope text, key text, limit_usd numeric, spent_usd numeric, reserved_usd numeric);
drop function if exists headrace.lock_caps(uuid, text, text, timestamptz);
drop function if exists headrace.release(uuid, uuid, timestamptz);

-- A run is written twice: when it begins and when it is settled. Without an index that asks for its status, and with room
-- beside it in its page, the second time touches no index and leaves no hole elsewhere. What a claim left open is found by
-- its job.
drop index headrace.runs_open;
do $$
declare t text;
begin
    for t in select c.oid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where i.inhparent = 'headrace.runs'::regclass loop
        execute format('alter table %s set (fillfactor = 50)', t);
    end loop;
end $$;

-- A run is priced at the batch rate when it went out in a provider's batch.
alter table headrace.runs
    add column processing text not null default 'standard' check (processing in ('standard', 'batch')),
    add column repriced_at timestamptz;

-- What the calls had reserved, and what was billed beyond it: estimate against actual without a look at every run.
alter table headrace.spend_daily
    add column reserved_usd numeric not null default 0,
    add column over_calls bigint not null default 0,
    add column over_reserved_usd numeric not null default 0;
-- the owner is bound by the policies too, and no tenant is set here
alter table headrace.runs no force row level security;
alter table headrace.spend_daily no force row level security;
update headrace.spend_daily d set reserved_usd = r.reserved_usd, over_calls = r.over_calls, over_reserved_usd = r.over_reserved_usd
from (select (created_at at time zone 'UTC')::date as day, tenant_id, user_id, feature, prompt_id, provider, model, key_owner,
             sum(reserved_usd) as reserved_usd, count(*) filter (where over_reserved_usd > 0) as over_calls,
             sum(over_reserved_usd) as over_reserved_usd
      from headrace.runs where cost_usd is not null group by 1, 2, 3, 4, 5, 6, 7, 8) r
where d.day = r.day and d.tenant_id = r.tenant_id and d.user_id = r.user_id and d.feature = r.feature
  and d.prompt_id is not distinct from r.prompt_id and d.provider = r.provider and d.model = r.model
  and d.key_owner = r.key_owner;

-- What a tenant pays, from a day on: a factor on what its calls cost on the platform's key, plus fixed prices.
create table headrace.tenant_prices (
    tenant_id           uuid not null,
    effective_from      date not null,
    cost_factor         numeric not null default 0 check (cost_factor >= 0),
    per_call_usd        numeric not null default 0 check (per_call_usd >= 0),
    input_mtok_usd      numeric not null default 0 check (input_mtok_usd >= 0),
    output_mtok_usd     numeric not null default 0 check (output_mtok_usd >= 0),
    primary key (tenant_id, effective_from)
);
alter table headrace.tenants add column stripe_customer_id text unique check (length(stripe_customer_id) between 1 and 200);

-- What was settled, by UTC day of settling: what is exported to a biller. A day that was exported never changes; what is
-- settled or corrected later goes to the next day that is still open.
create table headrace.billing_daily (
    tenant_id           uuid not null,
    day                 date not null,
    calls               bigint not null default 0,
    input_tokens        bigint not null default 0,
    output_tokens       bigint not null default 0,
    platform_usd        numeric not null default 0,          -- cost on the platform's key; the tenant's own key is its affair
    exported_at         timestamptz,
    primary key (tenant_id, day)
) with (fillfactor = 70);
insert into headrace.billing_daily (tenant_id, day, calls, input_tokens, output_tokens, platform_usd)
select tenant_id, (settled_at at time zone 'UTC')::date, count(*), coalesce(sum(input_tokens), 0),
       coalesce(sum(output_tokens), 0), coalesce(sum(cost_usd) filter (where key_owner = 'platform'), 0)
from headrace.runs where cost_usd is not null group by 1, 2;
alter table headrace.runs force row level security;
alter table headrace.spend_daily force row level security;

do $$
declare t text;
begin
    foreach t in array array['rates', 'tenant_prices', 'billing_daily'] loop
        execute format('alter table headrace.%I enable row level security, force row level security', t);
        execute format($p$create policy tenant_bound on headrace.%I to headrace_app, headrace_owner
            using (tenant_id = (select headrace.current_tenant()))
            with check (tenant_id = (select headrace.current_tenant()))$p$, t);
        execute format('create policy operators on headrace.%I to headrace_ops using (true) with check (true)', t);
    end loop;
end $$;
