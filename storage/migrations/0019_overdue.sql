-- Poison means deaths. A claim past its time in a worker that lives, a hung thread, is counted apart.
alter table headrace.queue add column overdue integer not null default 0 check (overdue >= 0);
