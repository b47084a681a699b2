-- What was wrong with a job's last answer that did not match its output schema: the next attempt says so, and asks for the
-- schema in words. claim returns it; take_back says why a job that it took from a worker has ended. A function's result
-- cannot be changed in place: both are made again with the functions.
alter table headrace.queue add column output_fault text;
drop function if exists headrace.claim(uuid, text, uuid, uuid, double precision, integer, boolean);
drop function if exists headrace.take_back(double precision, integer);
