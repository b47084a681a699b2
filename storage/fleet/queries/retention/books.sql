-- What is kept for good: since when, and how many bytes with indexes. The oldest job by its id. Index: the primary
-- keys.
select (select extract(epoch from headrace.now() - headrace.time_of(j.id)) / 86400 from headrace.jobs j order by j.id
    limit 1)::float8 as oldest_days,
       (select coalesce(sum(pg_total_relation_size(c.oid)), 0) from pg_class c
        where c.relnamespace = 'headrace'::regnamespace and c.relkind = 'r'
          and (c.relname ~ '^(jobs|runs)_' or c.relname in ('results', 'spend_daily', 'billing_daily')))::bigint
              as bytes;
