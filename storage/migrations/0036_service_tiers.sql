-- The service tier that a provider says it used, where it is not the standard one that was asked for, and how the run is
-- priced for that: batch, at the price of the provider's batches; reserved, since no price of the tier is known. Null: at the
-- price of what was asked for (`processing`).
alter table headrace.runs add column service_tier text;
alter table headrace.runs add column priced_as text;
-- Not valid: a run of before has none, and there may be very many to look at.
alter table headrace.runs add constraint runs_priced_as check (priced_as in ('batch', 'reserved')) not valid;
