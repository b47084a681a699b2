-- No signals for so many seconds: a scheduler looks by itself. Index: primary key.
update headrace.wake_signals
set paused_until = greatest(paused_until, headrace.now() + make_interval(secs => %s)) where one;
