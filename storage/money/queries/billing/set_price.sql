-- Set what a tenant pays from a day on, and say who did it. What is left out (null) stays as it was in force on that
-- day. Safe to repeat, but for another row of audit. A day that was exported keeps its worth.
with before as (select headrace.tenant_price_at(%(tenant_id)s::uuid, %(effective_from)s::date) as price),
changed as (
    insert into headrace.tenant_prices as p (tenant_id, effective_from, cost_factor, per_call_usd, input_mtok_usd,
        output_mtok_usd)
    select %(tenant_id)s::uuid, %(effective_from)s::date,
           coalesce(%(cost_factor)s::numeric, (b.price).cost_factor, 0),
           coalesce(%(per_call_usd)s::numeric, (b.price).per_call_usd, 0),
           coalesce(%(input_mtok_usd)s::numeric, (b.price).input_mtok_usd, 0),
           coalesce(%(output_mtok_usd)s::numeric, (b.price).output_mtok_usd, 0)
    from before b
    on conflict (tenant_id, effective_from) do update set
        cost_factor = excluded.cost_factor, per_call_usd = excluded.per_call_usd,
        input_mtok_usd = excluded.input_mtok_usd, output_mtok_usd = excluded.output_mtok_usd
    returning p.*
),
noted as (
    insert into headrace.audit (tenant_id, actor, action, target, before, after)
    select c.tenant_id, %(actor)s, 'billing.set_price', c.effective_from::text, to_jsonb(b.price), to_jsonb(c)
    from changed c cross join before b
)
select effective_from, cost_factor, per_call_usd, input_mtok_usd, output_mtok_usd from changed;
