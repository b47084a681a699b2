-- One more turn of a lane.
create or replace function headrace.one_more(p_turns jsonb, p_lane text) returns jsonb language sql immutable
return p_turns || jsonb_build_object(p_lane, coalesce((p_turns ->> p_lane)::integer, 0) + 1);
