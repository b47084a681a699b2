-- The caps, the rates, and what begin would say to the planned calls of many jobs
-- (storage/money/functions/quote_many.sql).
select n, alike, look, worst_usd, own from headrace.quote_many(%s, %s) order by n;
