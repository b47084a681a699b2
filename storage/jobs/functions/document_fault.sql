-- Why a JSON document that comes with a request is refused; null: it is fine. A text that is shorter is neither nested
-- 65 deep nor does it hold a number of 309 digits. A plain expression, which stands in its caller's place.
create or replace function headrace.document_fault(as_text text, given jsonb) returns text language sql immutable as $$
select case
    when octet_length(as_text) > 128 and headrace.is_too_deep(given) then 'is nested deeper than 64 levels'
    when octet_length(as_text) > 308 and headrace.holds_huge_number(as_text, given) then 'holds a number beyond 1.7e308'
end;
$$;
