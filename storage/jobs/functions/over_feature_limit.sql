-- Why an input is too long for its feature, or null when it fits (or no limit was published). Characters are counted as
-- the worker counts them (router/plan.py): the texts of the messages, or the values of the variables. The input was
-- checked before. Nearly all inputs fit by their size in memory, which is no less than their characters, and need not
-- be counted.
create or replace function headrace.over_feature_limit(
    p_feature text, p_most bigint, p_messages jsonb, p_variables jsonb)
returns jsonb language plpgsql immutable as $$
declare
    v_characters bigint;
begin
    if p_most is null or pg_column_size(coalesce(p_messages, p_variables)) <= p_most then
        return null;
    elsif p_messages is not null then
        v_characters := (select sum(length(m.value ->> 'content')) from jsonb_array_elements(p_messages) m);
    else
        v_characters := (select sum(length(v.value)) from jsonb_each_text(p_variables) v);
    end if;
    if v_characters <= p_most then
        return null;
    end if;
    return headrace.refusal('too_long', case when p_messages is null then 'variables'
        else 'messages' end, v_characters || ' characters',
        format('is over the cap of %s characters of the feature %s', p_most, p_feature));
end $$;
