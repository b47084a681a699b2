-- Features as the routing policy has them, {"<name>": {"description", "user_per_minute", "max_input_chars"}, …}; what
-- it no longer has is retired. What it no longer says of a feature is no longer there.
with gone as (
    update headrace.features set retired_at = headrace.now(), user_per_minute = null
    where retired_at is null and not %s::jsonb ? name
)
insert into headrace.features (name, description, user_per_minute, max_input_chars)
select f.key, f.value ->> 'description', (f.value ->> 'user_per_minute')::integer,
       (f.value ->> 'max_input_chars')::integer
from jsonb_each(%s::jsonb) f
on conflict (name) do update set
    description = excluded.description, user_per_minute = excluded.user_per_minute,
    max_input_chars = excluded.max_input_chars,
    retired_at = null;
