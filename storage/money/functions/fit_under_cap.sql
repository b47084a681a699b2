-- Whether a call that costs at least p_least fits under one cap:
--   now           it fits
--   once_settled  it fits when others' reservations have settled, or other jobs under this cap come first
--   over_budget   what is spent leaves too little, whatever settles
-- A cap without a limit has room for every call. All amounts are USD. A plain expression, which stands in its caller's
-- place.
create or replace function headrace.fit_under_cap(p_limit numeric, p_spent numeric, p_reserved numeric, p_least numeric,
                                                  p_others_first boolean)
returns text language sql immutable
return case when p_limit is null then 'now'
    when p_least <= p_limit - p_spent - p_reserved then case when p_others_first then 'once_settled' else 'now' end
    when p_spent + p_least > p_limit then 'over_budget'
    else 'once_settled' end;
