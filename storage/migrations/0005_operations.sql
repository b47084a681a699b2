-- What operators and later rooms need: workers, slots, outbox, audit, provider keys, vectors.

create table headrace.workers (
    id                  uuid primary key,                    -- new at each start of a process
    host                text not null,
    pid                 integer not null,
    threads             integer not null check (threads >= 1),
    started_at          timestamptz not null default headrace.now(),
    heartbeat_at        timestamptz not null default headrace.now(),
    draining_at         timestamptz,
    stopped_at          timestamptz
);
create index workers_alive on headrace.workers (heartbeat_at) where stopped_at is null;

-- A concurrency cap of n is n rows. A claim takes a free one, whatever ends the claim frees it: nothing is counted,
-- so nothing can be exceeded. Reached only inside functions.
create table headrace.slots (
    cap_key             text not null,
    n                   integer not null check (n >= 0),
    claim_id            uuid,
    primary key (cap_key, n)
) with (fillfactor = 50);
create index slots_by_claim on headrace.slots (claim_id) where claim_id is not null;

create table headrace.outbox (
    id                  bigint generated always as identity,
    tenant_id           uuid not null,
    topic               text not null,
    payload             jsonb not null,
    created_at          timestamptz not null default headrace.now(),
    sent_at             timestamptz,
    primary key (id, tenant_id)
);
create index outbox_unsent on headrace.outbox (id) where sent_at is null;

create table headrace.audit (
    id                  bigint generated always as identity,
    tenant_id           uuid,                                -- null: the platform's own
    actor               text not null,
    action              text not null,
    target              text not null,
    before              jsonb,
    after               jsonb,
    at                  timestamptz not null default headrace.now(),
    primary key (id)
);
create index audit_by_tenant on headrace.audit (tenant_id, id desc);

create table headrace.provider_keys (
    id                  uuid not null,
    tenant_id           uuid not null references headrace.tenants (id),
    provider            text not null,
    ciphertext          bytea not null,                      -- the key under a data key
    wrapped_key         bytea not null,                      -- the data key under the master key
    master_key_id       text not null,
    last_four           text not null check (length(last_four) <= 4),
    created_at          timestamptz not null default headrace.now(),
    revoked_at          timestamptz,
    primary key (id, tenant_id)
);
create unique index provider_keys_one_active on headrace.provider_keys (tenant_id, provider) where revoked_at is null;

create table headrace.chunks (
    id                  uuid not null,
    tenant_id           uuid not null references headrace.tenants (id),
    document            text not null,
    ordinal             integer not null check (ordinal >= 0),
    content             text not null,
    model               text not null,
    created_at          timestamptz not null default headrace.now(),
    primary key (id, tenant_id),
    unique (tenant_id, document, ordinal, model)
);

-- The extension may have been there before us, in a schema of the administrator's choice.
do $$ begin
    execute (select format('alter table headrace.chunks add column embedding %I.vector not null', n.nspname)
             from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
end $$;

do $$
declare t text;
begin
    foreach t in array array['outbox', 'audit', 'provider_keys', 'chunks'] loop
        execute format('alter table headrace.%I enable row level security, force row level security', t);
        execute format($p$create policy tenant_bound on headrace.%I to headrace_app, headrace_owner
            using (tenant_id = (select headrace.current_tenant()))
            with check (tenant_id = (select headrace.current_tenant()))$p$, t);
        execute format('create policy operators on headrace.%I to headrace_ops using (true) with check (true)', t);
    end loop;
end $$;
