-- Whether an answer was made up by the simulator: an operator and a caller must be able to tell it from a model's.
alter table headrace.results add column simulated boolean not null default false;
