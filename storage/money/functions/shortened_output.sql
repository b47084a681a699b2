-- The longest answer, tokens, whose worst case fits into p_room USD with the input's: at least p_min (what the prompt
-- calls useful; the caller has seen that it fits), at most p_asked. An output that is free of charge may be as long as
-- asked.
create or replace function headrace.shortened_output(p headrace.model_prices, p_input_bound bigint, p_asked integer,
                                                     p_min integer, p_room numeric, in_batch boolean default false)
returns integer language sql immutable as $$
select least(p_asked, greatest(p_min, floor(
    (p_room - headrace.worst_case(p, p_input_bound, 0, in_batch))
    / nullif(headrace.worst_case(p, p_input_bound, 1000000, in_batch) - headrace.worst_case(p, p_input_bound, 0,
        in_batch), 0)
    * 1000000)::integer));
$$;
