-- Whether jobs may name this feature: a row, or none. Index: the primary key.
select true as there from headrace.features f where f.name = %s and f.retired_at is null;
