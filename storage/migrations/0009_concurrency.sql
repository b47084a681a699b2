-- Concurrency caps: how many jobs of a tenant's lane or feature, or calls of a model, may run at once. Optional; none by
-- default. The limits are here, what is taken is in `slots` (docs/decisions/0017-slots.md).

create table headrace.concurrency (
    tenant_id           uuid,                                -- null: the platform's own, of a model
    scope               text not null check (scope in ('lane', 'feature', 'model')),
    key                 text not null check (key <> ''),     -- the lane, the feature, or <provider>:<model>
    slots               integer not null check (slots between 0 and 100000),
    unique nulls not distinct (tenant_id, scope, key),
    check ((scope = 'model') = (tenant_id is null))
);
alter table headrace.concurrency enable row level security, force row level security;
-- whom it binds may read it; a model's binds everybody
create policy tenant_bound on headrace.concurrency to headrace_app, headrace_owner
    using (tenant_id = (select headrace.current_tenant())
           or (tenant_id is null and (select headrace.current_tenant()) is not null))
    with check (tenant_id = (select headrace.current_tenant()));
create policy operators on headrace.concurrency to headrace_ops using (true) with check (true);

-- promised_to: the job that was let in for it and has not begun its call (of models only).
-- retired: taken when the cap was lowered under it; gone when it is let go. The rows that are not are as many as the cap.
alter table headrace.slots
    add column retired boolean not null default false,
    add column promised_to uuid,
    add column promised_tenant uuid,
    add column promised_at timestamptz,
    add check (not retired or claim_id is not null),
    add check (num_nulls(promised_to, promised_tenant, promised_at) in (0, 3)),
    add check (promised_to is null or claim_id is null);
create index slots_retired on headrace.slots (cap_key, n) where retired;
create index slots_free on headrace.slots (cap_key, n) where claim_id is null;
-- few rows, written at every claim and settle
alter table headrace.slots set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
                                autovacuum_vacuum_cost_delay = 0);

-- Who waits for a model's slots: a tenant's start tag among them, in calls / weight. Ids and numbers only, so that whoever
-- frees a slot finds the next tenant without seeing its jobs. waiting is a hint: the scheduler looks at the jobs themselves.
create table headrace.slot_shares (
    cap_key             text not null,
    of_tenant           uuid not null,
    tag                 numeric not null default 0,
    waiting             boolean not null default true,
    primary key (cap_key, of_tenant)
) with (fillfactor = 50);
create index slot_shares_waiting on headrace.slot_shares (cap_key, tag, of_tenant) where waiting;

-- 'slot:feature:<feature>' and 'slot:model:<provider>:<model>': what waits for a slot
alter table headrace.queue drop constraint queue_waits_for_check;
alter table headrace.queue add constraint queue_waits_for_check
    check (waits_for ~ '^((cap|room|rate):(tenant|user|feature|feature_user)|slot:(feature|model)):');

-- their results have changed
drop function if exists headrace.claim(uuid, text, uuid, uuid, double precision, integer, boolean);
drop function if exists headrace.settle(uuid, uuid, uuid, jsonb, text, jsonb);
drop function if exists headrace.keep_books(uuid, jsonb);
