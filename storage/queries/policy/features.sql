-- The features that jobs may name.
select f.name from headrace.features f where f.retired_at is null order by f.name;
