-- A scheduler listens for so many seconds more: notes are worth a signal. Index: primary key.
update headrace.wake_signals
set wanted_until = greatest(wanted_until, headrace.now() + make_interval(secs => %s)) where one;
