-- The jobs whose ids lie between two, oldest first: those that begin with the same digits. Index: primary keys of the
-- partitions that the ids name by themselves. Each partition gives as many as are asked for at most.
select j.id from headrace.jobs j where j.id between %(first)s and %(last)s order by j.id limit %(limit)s;
