-- The lanes that jobs may name, each with its weight.
select l.name, l.weight from headrace.lanes l where l.retired_at is null order by l.name;
