-- The caps, the rates, and what begin would say to the planned calls (storage/money/functions/quote.sql).
select headrace.quote(%s, %s, %s, %s, %s, %s, %s) as quote;
