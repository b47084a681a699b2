-- Prompts. A version is an immutable row; what is active is a pointer; every move of the pointer is history.
-- A row without a tenant is a default, seen by every tenant (but never without a tenant set).

create table headrace.prompts (
    id                  uuid primary key,
    tenant_id           uuid references headrace.tenants (id),
    name                text not null check (name ~ '^[a-z][a-z0-9_]{0,60}$'),
    version             integer not null check (version >= 1),
    description         text not null default '',
    body                text not null check (octet_length(body) between 1 and 200000),
    variables           jsonb not null default '{}' check (jsonb_typeof(variables) = 'object'),  -- name → max chars
    output_schema       jsonb check (jsonb_typeof(output_schema) = 'object'),
    max_output_tokens   integer not null check (max_output_tokens between 1 and 200000),
    min_output_tokens   integer check (min_output_tokens between 1 and max_output_tokens),
    content_hash        bytea not null,
    created_by          text not null default '',
    created_at          timestamptz not null default headrace.now(),
    of_whom             uuid generated always as (
                            coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid)) stored,
    unique nulls not distinct (tenant_id, name, version),
    constraint prompts_id_of_whom_key unique (id, of_whom)
);

-- A pointer names a version of its own tenant, or a default one where it says so: the foreign key carries whose the
-- version is. A key of (tenant_id, id) alone would not do, since a null in it is not checked, and defaults have no
-- tenant.
create table headrace.prompt_pointers (
    tenant_id           uuid references headrace.tenants (id),
    name                text not null,
    prompt_id           uuid not null,
    moved_at            timestamptz not null default headrace.now(),
    to_default          boolean not null default false,       -- of a tenant, and it names a default version
    prompt_of_whom      uuid generated always as (
                            case when to_default or tenant_id is null
                                 then '00000000-0000-0000-0000-000000000000'::uuid else tenant_id end) stored,
    -- The text that the file of a default prompt had at the last migrate: a file that went back to a text of before
    -- makes that version the active one, and a file that did not change leaves the pointer where an operator has put
    -- it.
    file_hash           bytea,
    unique nulls not distinct (tenant_id, name),
    check (not to_default or tenant_id is not null),
    constraint prompt_pointers_prompt_fkey foreign key (prompt_id, prompt_of_whom)
        references headrace.prompts (id, of_whom)
);
comment on column headrace.prompt_pointers.file_hash
    is 'content_hash of what the file said at the last migrate; null: a tenant''s own';

create table headrace.prompt_history (
    id                  bigint generated always as identity primary key,
    tenant_id           uuid,
    name                text not null,
    from_prompt_id      uuid,
    to_prompt_id        uuid not null,
    actor               text not null,
    reason              text not null default '',
    at                  timestamptz not null default headrace.now()
);
create index prompt_history_by_name on headrace.prompt_history (tenant_id, name, id desc);
