-- Runs that were priced by another row than the one that was in force when they started: a row with an earlier date
-- came later. Each with the row that is right, and what it costs by that. Only calls that cost what their tokens say:
-- an unknown one costs what was reserved for it. Null arguments mean all. Index: runs_by_tenant.
create or replace function headrace.mispriced(p_tenant uuid, p_since timestamptz, p_until timestamptz, p_model text)
returns table (tenant_id uuid, id uuid, created_at timestamptz, was_usd numeric, price_id bigint, cost_usd numeric)
language sql stable as $$
    select r.tenant_id, r.id, r.created_at, r.cost_usd, p.id,
           headrace.run_cost(p, r.input_tokens, coalesce(r.cached_input_tokens, 0), coalesce(r.cache_write_tokens, 0),
                             coalesce(r.output_tokens, 0), r.processing = 'batch', r.priced_as, r.reserved_usd)
    from headrace.runs r
    cross join lateral headrace.price_in_force(r.provider, r.model, r.created_at) p
    where (p_tenant is null or r.tenant_id = p_tenant)
      and r.created_at >= p_since and r.created_at < p_until
      and (p_model is null or r.model = p_model)
      and r.status in ('succeeded', 'failed') and r.input_tokens is not null
      and p.id <> r.price_id
$$;
