-- headrace.result returns a column more than it did at first, which `create or replace` cannot change; it is made again with the functions.
drop function if exists headrace.result(uuid, uuid);
