-- Whether this transaction is the one that flags unusual spend now. It comes before the look at what was flagged: who
-- gets the lock sees all that the one before committed.
select headrace.hold_chore('flag_unusual') as mine;
