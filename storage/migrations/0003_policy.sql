-- The parts of the routing policy that SQL has to check at the door: features and lanes.

create table headrace.features (
    name                text primary key check (name ~ '^[a-z][a-z0-9_]{0,60}$'),
    description         text not null default '',
    paused_at           timestamptz,
    retired_at          timestamptz,                               -- no longer in the routing policy
    -- requests a minute of each user of the feature, in a count of its own; null: no limit of that kind
    user_per_minute     integer check (user_per_minute >= 1),
    -- The longest input of a feature, characters, as the routing policy says: checked at the door, and again by the
    -- worker's own policy. Null: the next `headrace migrate` of this release publishes it.
    max_input_chars     integer check (max_input_chars >= 1)
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
    assert (select count(*) from headrace.lanes) = 2, 'lanes were not seeded';
    assert (select count(*) from headrace.features) = 1, 'features were not seeded';
end $$;
