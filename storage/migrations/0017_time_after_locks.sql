-- What is booked under caps takes its time once they are locked; and a job remembers that its request rates have counted it.

-- at: when the caps were locked. Their window, the run's start and the hour of its bucket go by this one time.
alter type headrace.locked_cap add attribute at timestamptz;

-- admitted: counted under its request rates. Each request is counted once, however often it has to wait after that.
alter table headrace.queue add column admitted boolean not null default false;

-- their arguments have changed; nothing was released with the old ones
drop function if exists headrace.lock_caps(uuid, text, text, timestamptz);
drop function if exists headrace.book(uuid, text, text, timestamptz, numeric, numeric, timestamptz);
drop function if exists headrace.put_back(uuid, headrace.queue, timestamptz, text, boolean, boolean, timestamptz, text, numeric);
