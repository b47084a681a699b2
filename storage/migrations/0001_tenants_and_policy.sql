-- Tenants, plans, and the parts of the policy that SQL has to check at the door: features and lanes.

create table headrace.plans (
    name                text primary key check (name ~ '^[a-z][a-z0-9_]{0,30}$'),
    weight              numeric not null check (weight > 0),               -- share of the fleet against other tenants
    daily_cost_cap_usd  numeric not null check (daily_cost_cap_usd >= 0),  -- a tenant's cap unless it has its own
    user_share          numeric not null check (user_share > 0 and user_share <= 1)  -- a user's default part of it
);

insert into headrace.plans (name, weight, daily_cost_cap_usd, user_share) values
    ('free', 1, 5.00, 0.20),
    ('pro', 2, 50.00, 0.20),
    ('enterprise', 4, 500.00, 0.20);

create table headrace.tenants (
    id                  uuid primary key,
    external_id         text unique check (length(external_id) between 1 and 200),
    name                text not null check (length(name) between 1 and 200),
    plan                text not null default 'free' references headrace.plans (name),
    daily_cost_cap_usd  numeric check (daily_cost_cap_usd >= 0),   -- null: the plan's
    weight              numeric check (weight > 0),                -- null: the plan's
    paused_at           timestamptz,
    created_at          timestamptz not null default headrace.now()
);

create table headrace.features (
    name                text primary key check (name ~ '^[a-z][a-z0-9_]{0,60}$'),
    description         text not null default '',
    paused_at           timestamptz,
    retired_at          timestamptz                                -- no longer in the routing policy
);

create table headrace.lanes (
    name                text primary key check (name ~ '^[a-z][a-z0-9_]{0,30}$'),
    weight              integer not null check (weight >= 1),
    paused_at           timestamptz,
    retired_at          timestamptz
);

insert into headrace.features (name, description) values ('chat', 'Plain conversation; always there.');
insert into headrace.lanes (name, weight) values ('interactive', 9), ('batch', 1);

do $$ begin
    assert (select count(*) from headrace.plans) = 3, 'plans were not seeded';
    assert (select count(*) from headrace.lanes) = 2, 'lanes were not seeded';
    assert (select count(*) from headrace.features) = 1, 'features were not seeded';
end $$;

alter table headrace.tenants enable row level security, force row level security;
create policy tenant_bound on headrace.tenants to headrace_app, headrace_owner
    using (id = (select headrace.current_tenant())) with check (id = (select headrace.current_tenant()));
create policy operators on headrace.tenants to headrace_ops using (true) with check (true);
