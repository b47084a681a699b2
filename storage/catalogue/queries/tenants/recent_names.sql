-- The names of the newest tenants, for what an unknown one may have meant. Ids are in the order of time. Index: primary
-- key.
select name from headrace.tenants order by id desc limit %s;
