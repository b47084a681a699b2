-- The price row of a model at an instant; no row means that the model is unpriced and must not run.
-- Index: unique (provider, model, effective_from).
create or replace function headrace.price_in_force(p_provider text, p_model text, at timestamptz)
returns headrace.model_prices language sql stable
begin atomic
    select m from headrace.model_prices m
    where m.provider = p_provider and m.model = p_model and m.effective_from <= at
    order by m.effective_from desc limit 1;
end;
