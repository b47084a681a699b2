-- Logins that may enqueue for some tenants only: `headrace producers bind`. A login without a row here may enqueue for any.
create table headrace.producer_bindings (
    login               text not null check (login <> ''),       -- as session_user says, whatever role is in force
    tenant_id           uuid not null references headrace.tenants (id),
    created_at          timestamptz not null default headrace.now(),
    primary key (login, tenant_id)
);
alter table headrace.producer_bindings enable row level security, force row level security;
create policy tenant_bound on headrace.producer_bindings to headrace_app, headrace_owner
    using (tenant_id = (select headrace.current_tenant())) with check (tenant_id = (select headrace.current_tenant()));
create policy operators on headrace.producer_bindings to headrace_ops using (true) with check (true);
-- enqueue has to know whether the login that calls has any
create policy own_login on headrace.producer_bindings for select to headrace_owner using (login = session_user);
