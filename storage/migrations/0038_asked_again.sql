-- A job that ended without an answer is asked again once, and each of the two names the other. The history says so too, but
-- events are forgotten after a while, and a second operator must not ask for a job anew whose event is gone.
alter table headrace.jobs add column asked_again_as uuid, add column repeats uuid;
comment on column headrace.jobs.asked_again_as is 'the job that asks for this one anew; set once';
comment on column headrace.jobs.repeats is 'the job that ended without an answer and that this one asks for anew';

-- run_again returns the job too now: a function's result cannot be changed in place.
drop function if exists headrace.run_again(uuid, uuid, uuid, text);
