-- The features that jobs may name, each with the requests a minute that it gives a user (null: none of its own).
select f.name, f.user_per_minute from headrace.features f where f.retired_at is null order by f.name;
