-- Which of these models (a JSON list of provider and model) have no price in force, so that no job may use them.
-- Index: unique (provider, model, effective_from).
select w.provider, w.model from jsonb_to_recordset(%s::jsonb) as w(provider text, model text)
where (headrace.price_in_force(w.provider, w.model, headrace.now())).id is null
order by w.provider, w.model;
