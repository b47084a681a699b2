-- The model that answered, where it is another one than was asked for: a gateway's choice, or a dated name. Prices go by what
-- was asked for.
alter table headrace.runs add column answered_model text;
