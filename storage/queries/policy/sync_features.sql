-- Features as the routing policy has them; what it no longer has is retired.
with gone as (
    update headrace.features set retired_at = headrace.now()
    where retired_at is null and not %s::jsonb ? name
)
insert into headrace.features (name, description)
select key, value from jsonb_each_text(%s::jsonb)
on conflict (name) do update set description = excluded.description, retired_at = null;
