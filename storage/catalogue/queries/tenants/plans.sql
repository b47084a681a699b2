-- The plans' names.
select name from headrace.plans order by daily_cost_cap_usd;
