-- Keys and logins of tenants.

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

-- Logins that may enqueue for some tenants only: `headrace producers bind`. A login without a row here may enqueue for
-- any.
create table headrace.producer_bindings (
    login               text not null check (login <> ''),       -- as session_user says, whatever role is in force
    tenant_id           uuid not null references headrace.tenants (id),
    created_at          timestamptz not null default headrace.now(),
    primary key (login, tenant_id)
);
