-- The locks that matter, each on an object of ours: who has no privilege on it cannot stand in its way (decision 30).
-- They are held until the transaction ends, and taken before any row.

-- Chores that run one at a time.
insert into headrace.chore_locks (name) values
    ('analyze_grown'), ('flag_unusual'), ('forget'), ('lend_slots'), ('prices'), ('provision'),
    ('release_for_money'), ('release_for_rate'), ('sweep')
on conflict do nothing;

-- Take a chore's lock; false when another transaction holds it, which then does the work.
create or replace function headrace.hold_chore(p_chore text) returns boolean language plpgsql as $$
begin
    perform from headrace.chore_locks c where c.name = p_chore for update skip locked;
    return found;
end $$;
