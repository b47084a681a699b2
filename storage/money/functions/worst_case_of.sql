-- The most that some calls may cost together, USD, at the prices of an instant; null when one of them has no price.
-- p_calls: [{"provider", "model", "input_bound", "max_output_tokens"}, …].
create or replace function headrace.worst_case_of(p_calls jsonb, at timestamptz, in_batch boolean default false)
returns numeric language sql stable as $$
select case when count(*) = count(w.usd) then coalesce(sum(w.usd), 0) end
from jsonb_to_recordset(p_calls) as x(provider text, model text, input_bound bigint, max_output_tokens bigint)
cross join lateral (
    select headrace.worst_case(headrace.price_in_force(x.provider, x.model, at), x.input_bound, x.max_output_tokens,
                               in_batch) as usd) w;
$$;
