-- The cap on one job's input, UTF-8 bytes (producers/requests.py says the same figure; a test holds them together).
create or replace function headrace.max_input_bytes() returns integer language sql immutable return 400000;
