-- What an id or a name may be: one rule for every way in (storage/db/names.py says the same; a test holds both beside
-- each other over some hundred odd texts). Ids are of users and idempotency keys; names are of tenants, features, lanes
-- and prompts.

-- Why a composed text cannot be an id or a name of at most p_most characters; null: it can. Refused are control
-- characters, the separators of lines and paragraphs, overrides and isolates of the direction of text and the byte
-- order mark, wherever they are, and what is made of nothing but spaces, joiners, fillers, variation selectors and
-- tags, which no reader can see.
create or replace function headrace.name_fault(p_text text, p_most integer)
returns text language sql immutable parallel safe
return case
    -- (not format(), which is only stable: then the expression could not stand in its caller's place, at 25 µs a job)
    when coalesce(length(p_text), 0) not between 1 and p_most then 'needs 1 to ' || p_most::text || ' characters'
    when p_text ~ '^[!-~]+$' then null  -- most ids
    when p_text ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]'
        then 'holds a control character, a line separator, a direction override or half of a surrogate pair'
    when headrace.too_many_marks(p_text) then 'holds more than 30 combining marks in a row'
    when p_text !~ ('[^'
        || '\u0020\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u202f\u205f-\u2065'
        || '\u206a-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]')
        then 'holds nothing that can be seen'
end;
