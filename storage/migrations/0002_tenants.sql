-- Tenants and their plans.

create table headrace.plans (
    name                text primary key check (name ~ '^[a-z][a-z0-9_]{0,30}$'),
    weight              numeric not null check (weight > 0),               -- share of the fleet against other tenants
    daily_cost_cap_usd  numeric not null check (daily_cost_cap_usd >= 0),  -- a tenant's cap unless it has its own
    user_share          numeric not null check (user_share > 0 and user_share <= 1),  -- a user's default part of it
    -- requests a minute of each of its tenants, and of each user of those; null: no limit of that kind
    tenant_per_minute   integer check (tenant_per_minute >= 1),
    user_per_minute     integer default 60 check (user_per_minute >= 1)
);

insert into headrace.plans (name, weight, daily_cost_cap_usd, user_share) values
    ('free', 1, 5.00, 0.20),
    ('pro', 2, 50.00, 0.20),
    ('enterprise', 4, 500.00, 0.20);

create table headrace.tenants (
    id                  uuid primary key,
    external_id         text unique check (length(external_id) between 1 and 200),
    name                text not null check (length(name) between 1 and 200),
    shares_name         boolean not null default false,            -- it may have the name of another tenant
    plan                text not null default 'free' references headrace.plans (name),
    daily_cost_cap_usd  numeric check (daily_cost_cap_usd >= 0),   -- null: the plan's
    weight              numeric check (weight > 0),                -- null: the plan's
    stripe_customer_id  text unique check (length(stripe_customer_id) between 1 and 200),
    paused_at           timestamptz,
    created_at          timestamptz not null default headrace.now()
);
comment on column headrace.tenants.shares_name is 'it may have the name of another tenant';
-- Two tenants of one name are refused unless it is said that they share it. An index holds it, so that of two who race
-- one is refused, whichever way they come.
create unique index tenants_one_name on headrace.tenants (name) where not shares_name;

do $$ begin
    assert (select count(*) from headrace.plans) = 3, 'plans were not seeded';
end $$;
