-- The longest input of a feature, characters, as the routing policy says: checked at the door, and again by the worker's own policy.
-- Null: the next `headrace migrate` of this release publishes it.
alter table headrace.features add column max_input_chars integer check (max_input_chars >= 1);
