-- What begin would say to one call under these caps, and what it would reserve:
-- {"verdict": granted | over_budget | wait_for_room | unpriced, "worst_case_usd", "max_output_tokens" (both of the
-- answer as short as the caps make it when it is granted, else of the whole), "need_usd" (the least that has to fit),
-- "cap" (which of the caps says so, from 0), "fits": for each cap {"fit": now | once_settled | over_budget,
-- "room_at"}}. fit_call.sql decides it, as it does for begin. p_behind: the scopes of the caps under which other jobs
-- come first.
create or replace function headrace.quote_call(p_tenant uuid, p_caps headrace.locked_cap[], p_behind text[],
                                               p_call jsonb, v_now timestamptz)
returns jsonb language plpgsql stable as $$
declare
    v_price constant headrace.model_prices := headrace.price_in_force(p_call ->> 'provider', p_call ->> 'model', v_now);
    v_bound constant bigint := (p_call ->> 'input_bound')::bigint;
    v_asked constant integer := (p_call ->> 'max_output_tokens')::integer;
    v_worst constant numeric := headrace.worst_case(v_price, v_bound, v_asked);
    f record;
begin
    if v_worst is null then
        return jsonb_build_object('verdict', 'unpriced', 'max_output_tokens', v_asked, 'fits', '[]'::jsonb);
    end if;
    f := headrace.fit_call(v_price, v_bound, v_asked, (p_call ->> 'min_output_tokens')::integer, v_worst, 0, 0, p_caps,
                           p_behind, false);
    return jsonb_build_object(
        'verdict', f.verdict, 'worst_case_usd', f.worst_usd::text, 'max_output_tokens', f.max_output_tokens,
        'need_usd', f.least_usd::text, 'cap', f.cap - 1, 'fits', (
            select jsonb_agg(jsonb_build_object('fit', x.fit, 'room_at', case when x.fit = 'over_budget' then
                       headrace.room_at(p_tenant, c.scope, c.key, c.limit_usd, f.least_usd, v_now) end) order by x.n)
            from unnest(f.fits) with ordinality x(fit, n)
            cross join lateral (select (p_caps[x.n::integer]).*) c));
end $$;
