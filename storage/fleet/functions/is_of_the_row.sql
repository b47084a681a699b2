-- Whether an error lies in what a row carries (data, constraints, our own refusals, a broken row), and not in the
-- server, a lock or a release that is half done.
create or replace function headrace.is_of_the_row(p_sqlstate text) returns boolean language sql immutable
return left(p_sqlstate, 2) in ('21', '22', '23', '38', '39', '54', 'HR', 'P0', 'XX');
