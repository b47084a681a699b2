-- A figure of a run as a provider or a clock gave it: a whole number from 0 to p_most, or null where it is not a
-- number.
-- No figure can stop a settle: a job that cannot be settled is asked, and paid, again. Nor can a few of them that are
-- added.
create or replace function headrace.figure(p_run jsonb, p_name text, p_most integer default 500000000)
returns integer language sql immutable
return case when jsonb_typeof(p_run -> p_name) = 'number'
            then least(greatest(trunc((p_run -> p_name)::numeric), 0), p_most)::integer end;
