-- Why an id is refused. One answer for each reason, so that it tells nothing about other tenants' ids.
create or replace function headrace.id_refusal() returns jsonb language sql stable as $$
select headrace.refusal('invalid_input', 'id', null,
    'needs a new UUIDv7 of this job alone, made by a clock that is not ahead of the database''s');
$$;
