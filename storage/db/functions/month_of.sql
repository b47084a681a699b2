-- The first instant of a month of UTC: this one, or p_on months later. Months are added in UTC: `timestamptz +
-- interval` adds them in the session's time zone, which may be another month.
create or replace function headrace.month_of(p_at timestamptz, p_on integer default 0)
returns timestamptz language sql stable
return (date_trunc('month', p_at at time zone 'UTC') + make_interval(months => p_on)) at time zone 'UTC';
