-- Settled calls of this UTC day and what they cost, by provider and model. Index: spend_daily_by_day.
select d.provider, d.model, sum(d.calls - d.failed_calls)::bigint as succeeded, sum(d.failed_calls)::bigint as failed,
       sum(d.cost_usd) as cost_usd
from headrace.spend_daily d
where d.day = (select (headrace.now() at time zone 'UTC')::date)  -- once, or no index would do
group by d.provider, d.model order by d.provider, d.model;
