-- Lanes as configured; what is no longer configured is retired.
with gone as (
    update headrace.lanes set retired_at = headrace.now()
    where retired_at is null and not %s::jsonb ? name
)
insert into headrace.lanes (name, weight)
select key, value::integer from jsonb_each_text(%s::jsonb)
on conflict (name) do update set weight = excluded.weight, retired_at = null;
