-- Whether Postgres answers and takes writes: then hearts can be heard. It changes nothing, and a server that is
-- read-only refuses it.
delete from headrace.wakes where false;
