-- select * from headrace.enqueue_many(tenant_id => …, requests => '[{…}, …]'): up to 1,000 jobs of one tenant in the
-- caller's own transaction. A request is an object with the arguments of headrace.enqueue. Returns one row a request,
-- by its place: the job's id, or why it was refused as {"code", "field", "message", …}; good ones go in beside bad
-- ones. What is no list of requests at all raises HR400. A login that is bound to tenants (producer_bindings) may
-- enqueue for those alone. Runs as headrace_owner, with the caller's app.tenant_id given back; a transaction that has
-- set a tenant stays that tenant.
create or replace function headrace.enqueue_many(tenant_id uuid, requests jsonb)
returns table (index integer, job_id uuid, error jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_caller constant text := coalesce(current_setting('app.tenant_id', true), '');
    v_tenant constant uuid := enqueue_many.tenant_id;
    v_most constant integer := 100 * headrace.max_input_bytes();
    v_odd integer;
    v_fields constant text[] := array(
        select f.name from jsonb_object_keys(to_jsonb(jsonb_populate_record(null::headrace.job_request, '{}'))) f(name)
        where f.name not in ('tenant_id', 'created_at'));
begin
    -- as they lie in memory, before anything is built of them
    if pg_column_size(requests) > v_most then
        perform headrace.refuse(headrace.refusal('too_long', 'requests', null,
            format('are over the cap of %s bytes together', v_most)));
    elsif jsonb_typeof(requests) is distinct from 'array' or jsonb_array_length(requests) > 1000
       or jsonb_path_exists(requests, 'strict $[*] ? (@.type() != "object")') then
        perform headrace.refuse(headrace.refusal('invalid_input', 'requests', null,
            'needs a list of at most 1000 objects'));
    end if;
    -- a name that is mistyped, or a tenant inside a request, would be passed over without a word
    select min(e.n) - 1 into v_odd
    from jsonb_array_elements(requests) with ordinality e(value, n)
    where e.value - v_fields <> '{}';
    if v_odd is not null then
        perform headrace.refuse(headrace.refusal('invalid_input', format('requests[%s]', v_odd), null,
            'takes nothing but the arguments of headrace.enqueue, without tenant_id'));
    end if;
    if headrace.is_shut_out(v_tenant) then
        -- as a tenant that there is not, to which every other one is not there
        perform set_config('app.tenant_id', '00000000-0000-0000-0000-000000000000', true);
    end if;
    return query select b.index, b.job_id, b.error
        from headrace.enqueue_batch(v_tenant, requests, true) b order by b.index;
    perform set_config('app.tenant_id', v_caller, true);
end $$;
