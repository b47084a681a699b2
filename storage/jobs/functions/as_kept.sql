-- A request as it is kept, with what its caller left out. An estimate is believed within reason: an absurd figure would
-- shut its user out for good. Few expressions: each of them costs its preparation once a transaction.
create or replace function headrace.as_kept(r headrace.job_request, p_tenant uuid, v_now timestamptz)
returns headrace.job_request language plpgsql volatile as $$
begin
    r.tenant_id := p_tenant;
    r.created_at := v_now;
    r.metadata := coalesce(r.metadata, '{}');
    r.estimated_tokens := least(greatest(coalesce(r.estimated_tokens,
        1 + octet_length(coalesce(r.messages, r.variables, '{}')::text) / 3 + least(r.max_output_tokens, 500)), 1),
        100000000);
    if num_nulls(r.id, r.lane, r.on_over_budget, r.on_unknown, coalesce(r.messages, r.variables)) > 0 then
        r.id := coalesce(r.id, uuidv7());
        r.lane := coalesce(r.lane, 'interactive');
        r.on_over_budget := coalesce(r.on_over_budget, 'fail');
        r.on_unknown := coalesce(r.on_unknown, 'retry');
        r.variables := case when r.prompt is not null then coalesce(r.variables, '{}') end;
    end if;
    return r;
end $$;
