-- Lists and objects in each other, at most 64 levels (guards/cleaning.py says the same): a worker could not read more.
create or replace function headrace.is_too_deep(given jsonb) returns boolean language sql immutable
return coalesce(jsonb_path_exists(given, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")'), false);
