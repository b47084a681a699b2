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
    unique nulls not distinct (tenant_id, name, version)
);

create table headrace.prompt_pointers (
    tenant_id           uuid references headrace.tenants (id),
    name                text not null,
    prompt_id           uuid not null references headrace.prompts (id),
    moved_at            timestamptz not null default headrace.now(),
    unique nulls not distinct (tenant_id, name)
);

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

do $$
declare t text;
begin
    foreach t in array array['prompts', 'prompt_pointers', 'prompt_history'] loop
        execute format('alter table headrace.%I enable row level security, force row level security', t);
        execute format($p$create policy tenant_bound on headrace.%I to headrace_app, headrace_owner
            using (tenant_id = (select headrace.current_tenant())
                   or (tenant_id is null and (select headrace.current_tenant()) is not null))
            with check (tenant_id = (select headrace.current_tenant()))$p$, t);
        execute format('create policy operators on headrace.%I to headrace_ops using (true) with check (true)', t);
    end loop;
end $$;
