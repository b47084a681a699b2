-- Chunks of documents and their vectors.

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
