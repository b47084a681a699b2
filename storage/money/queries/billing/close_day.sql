-- Close one past day of one tenant (storage/money/functions/close_day.sql).
select tenant_id, day, revenue_usd, billed_micro_usd from headrace.close_day(%s);
