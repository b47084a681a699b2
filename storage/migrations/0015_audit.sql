-- Who changed what.

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
