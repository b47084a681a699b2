-- Times that every language can hold: no infinity, no year beyond four digits (producers/requests.py says the same).
create or replace function headrace.is_usable_time(given timestamptz) returns boolean language sql immutable
return given >= '0001-01-02 00:00:00+00' and given < '9999-12-31 00:00:00+00';
