-- Concurrency caps: how many jobs of a tenant's lane or feature, or calls of a model, may run at once. Optional; none
-- by default. The limits are in `concurrency`, what is taken is in `slots` (docs/decisions/0017-slots.md).

create table headrace.concurrency (
    tenant_id           uuid,                                -- null: the platform's own, of a model
    scope               text not null check (scope in ('lane', 'feature', 'model')),
    key                 text not null check (key <> ''),     -- the lane, the feature, or <provider>:<model>
    slots               integer not null check (slots between 0 and 100000),
    -- A concurrency cap with burst may be passed while threads are idle: the scheduler lends it slots beyond its own
    -- (storage/fleet/functions/lend_slots.sql). A model's cap never: what it bounds is the provider's, not the fleet's.
    burst               boolean not null default false,
    unique nulls not distinct (tenant_id, scope, key),
    check ((scope = 'model') = (tenant_id is null)),
    check (not burst or scope <> 'model')
);

-- A concurrency cap of n is n rows. A claim takes a free one, whatever ends the claim frees it: nothing is counted,
-- so nothing can be exceeded. Reached only inside functions.
-- retired: taken when the cap was lowered under it; gone when it is let go. lent: a slot beyond the cap's own (burst).
-- What is neither lent nor retired are as many rows as the cap.
create table headrace.slots (
    cap_key             text not null,
    n                   integer not null check (n >= 0),
    claim_id            uuid,
    -- Whose claim holds a slot. A claim id alone says nothing of the tenant, and is an argument of whoever calls.
    of_tenant           uuid,
    retired             boolean not null default false,
    lent                boolean not null default false,
    promised_to         uuid,              -- the job that was let in for it and has not begun its call (of models only)
    promised_tenant     uuid,
    promised_at         timestamptz,
    primary key (cap_key, n),
    check (not retired or claim_id is not null),
    check (num_nulls(promised_to, promised_tenant, promised_at) in (0, 3)),
    check (promised_to is null or claim_id is null),
    constraint slots_holder_has_a_tenant check ((claim_id is null) = (of_tenant is null))
    -- few rows, written at every claim and settle
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        autovacuum_vacuum_cost_delay = 0);
create index slots_by_claim on headrace.slots (claim_id) where claim_id is not null;
create index slots_retired on headrace.slots (cap_key, n) where retired;
create index slots_free on headrace.slots (cap_key, n) where claim_id is null;

-- Who waits for a model's slots: a tenant's start tag among them, in calls / weight. Ids and numbers only, so that
-- whoever frees a slot finds the next tenant without seeing its jobs. waiting is a hint: the scheduler looks at the
-- jobs themselves.
create table headrace.slot_shares (
    cap_key             text not null,
    of_tenant           uuid not null,
    tag                 numeric not null default 0,
    waiting             boolean not null default true,
    primary key (cap_key, of_tenant)
) with (fillfactor = 50);
create index slot_shares_waiting on headrace.slot_shares (cap_key, tag, of_tenant) where waiting;

-- Locked as tables, never filled: what keeps a concurrency cap from being changed while somebody looks at it. Tenants
-- share eight of them, by the last byte of their ids; models have one (storage/db/functions/hold_caps.sql).
do $$
declare v_of text;
begin
    foreach v_of in array array['models', '0', '1', '2', '3', '4', '5', '6', '7'] loop
        execute format('create table headrace.caps_guard_%s (never_filled boolean check (false))', v_of);
    end loop;
end $$;
