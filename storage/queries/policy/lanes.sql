-- The lanes that jobs may name.
select l.name from headrace.lanes l where l.retired_at is null order by l.name;
