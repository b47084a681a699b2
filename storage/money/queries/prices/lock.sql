-- One at a time brings prices up to date, so that two who find the same change add one row. Until the transaction ends.
select headrace.wait_for_chore('prices');
