-- An id as it is kept: in Unicode's composed form, so that the same word is the same id wherever it was typed. A text
-- that is too long for an id anyway stays as it is, since composing costs its length: at most four characters become
-- one. So does one with too many marks in a row. Plain ASCII is composed.
create or replace function headrace.composed(p_text text) returns text language sql immutable parallel safe
return case when octet_length(p_text) = length(p_text) or length(p_text) > 800 or headrace.too_many_marks(p_text)
    then p_text else normalize(p_text, NFC) end;
