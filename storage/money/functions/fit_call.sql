-- How one call fits under the caps of its job. The one place that decides it: begin.sql acts on the answer, quote.sql
-- only tells of it. Reads and locks nothing.
--
-- p_asked, p_min: the longest answer that is asked for, and the shortest that the prompt calls useful (null: all of
-- it), tokens. p_worst: worst case of the whole answer, USD; p_later: that of the plan's later calls. p_held: what the
-- claim holds already for this call and those, USD; it is not in its own way. p_behind: the scopes of the caps under
-- which other jobs come first (caps_behind.sql).
--
-- verdict: granted, over_budget or wait_for_room; cap: the place of the cap that says so, from 1. over_budget is the
-- stronger word: a later cap may still say it. fits: for each cap as fit_under_cap.sql says; all of them are `now` when
-- what is held is enough. max_output_tokens, worst_usd: of the answer as short as the caps make it, down to p_min; of
-- the whole where the call is not granted. least_usd: the least that has to fit, with the later calls.
create or replace function headrace.fit_call(
    p_price headrace.model_prices, p_input_bound bigint, p_asked integer, p_min integer, p_worst numeric,
    p_later numeric, p_held numeric, p_caps headrace.locked_cap[], p_behind text[], in_batch boolean,
    out verdict text, out cap integer, out fits text[], out max_output_tokens integer, out worst_usd numeric,
    out least_usd numeric)
language plpgsql immutable as $$
declare
    v_room numeric;
    c headrace.locked_cap;
begin
    verdict := 'granted';
    max_output_tokens := p_asked;
    worst_usd := p_worst;
    least_usd := p_later + headrace.worst_case(p_price, p_input_bound, least(p_min, p_asked), in_batch);
    if p_worst + p_later <= p_held then
        fits := array_fill('now'::text, array[cardinality(p_caps)]);
        return;
    end if;
    for i in 1 .. cardinality(p_caps) loop
        c := p_caps[i];
        fits[i] := headrace.fit_under_cap(c.limit_usd, c.spent_usd, c.reserved_usd - p_held, least_usd,
                                          c.scope = any (p_behind));
        v_room := c.limit_usd - c.spent_usd - c.reserved_usd + p_held;
        if least_usd <= v_room and worst_usd + p_later > v_room then
            max_output_tokens := headrace.shortened_output(p_price, p_input_bound, max_output_tokens, p_min,
                                                           v_room - p_later, in_batch);
            worst_usd := headrace.worst_case(p_price, p_input_bound, max_output_tokens, in_batch);
        end if;
        if fits[i] <> 'now' and verdict <> 'over_budget' then
            verdict := case fits[i] when 'over_budget' then 'over_budget' else 'wait_for_room' end;
            cap := i;
        end if;
    end loop;
    if verdict <> 'granted' then
        max_output_tokens := p_asked;
        worst_usd := p_worst;
    end if;
end $$;
