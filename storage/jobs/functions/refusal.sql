-- One refusal. Whatever is raised with it is written into Postgres's log: see enqueue().
create or replace function headrace.refusal(code text, field text, value text, message text) returns jsonb
language sql immutable
return jsonb_strip_nulls(jsonb_build_object('code', code, 'field', field, 'value', left(value, 200),
                                            'length', length(value), 'message', message));
