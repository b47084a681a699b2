-- Raise a refusal.
create or replace function headrace.refuse(p_error jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if p_error ->> 'hint' is not null then
        raise exception using errcode = 'HR400', detail = p_error::text, hint = p_error ->> 'hint',
            message = format('headrace.enqueue: %s: %s', p_error ->> 'field', p_error ->> 'message');
    end if;
    raise exception using errcode = 'HR400', detail = p_error::text,
        message = format('headrace.enqueue: %s: %s', p_error ->> 'field', p_error ->> 'message');
end $$;
