-- Note that a pass of a chore ended with an unexpected error. Index: primary key.
insert into headrace.chores as c (name, every_s, failures, failed_at, last_error)
values (%(name)s, %(every_s)s, 1, headrace.now(), %(error)s)
on conflict (name) do update set failures = c.failures + 1, failed_at = excluded.failed_at,
    last_error = excluded.last_error,
                                 every_s = excluded.every_s;
