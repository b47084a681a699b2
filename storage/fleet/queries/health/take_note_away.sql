-- Reclaim a note that no scheduler took. Index: primary key.
delete from headrace.wakes where id = %s;
