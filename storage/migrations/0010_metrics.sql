-- What was spent today, of all tenants, without a look at other days. The index is written once a row and day: what is added
-- to a row later touches no index.
create index spend_daily_by_day on headrace.spend_daily (day);
