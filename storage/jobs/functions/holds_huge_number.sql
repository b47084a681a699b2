-- A number beyond a double: readers refuse it, round it or make it infinite. Behind a test of the text that is cheap
-- and mostly says no, since such a number has hundreds of digits.
create or replace function headrace.holds_huge_number(as_text text, given jsonb) returns boolean language sql immutable
return as_text ~ '[0-9]{255}'
    and jsonb_path_exists(given, 'strict $.** ? (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308)');
