-- Whether a note still waits for a scheduler. Index: primary key.
select exists (select from headrace.wakes where id = %s) as there;
