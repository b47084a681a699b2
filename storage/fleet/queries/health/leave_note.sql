-- A note like those of foreign transactions, in a lane that cannot exist: a scheduler takes it and offers nothing.
insert into headrace.wakes (tenant_id, lane) values ('00000000-0000-0000-0000-000000000000', '(doctor)') returning id;
