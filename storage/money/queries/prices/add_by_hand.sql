-- One price row by hand and who wrote it: before, what was in force at its date; after, what is from then on. No row
-- when one with this date is there already.
with added as (
    insert into headrace.model_prices (provider, model, effective_from, input_usd, cached_input_usd, cache_write_usd,
        output_usd, long_from, long_input_usd, long_cached_input_usd, long_cache_write_usd, long_output_usd,
        batch_discount, source, source_hash)
    values (%(provider)s, %(model)s, %(effective_from)s, %(input_usd)s, %(cached_input_usd)s, %(cache_write_usd)s,
        %(output_usd)s, %(long_from)s, %(long_input_usd)s, %(long_cached_input_usd)s, %(long_cache_write_usd)s,
        %(long_output_usd)s, %(batch_discount)s, %(source)s, %(source_hash)s)
    on conflict (provider, model, effective_from) do nothing
    returning *
)
insert into headrace.audit (actor, action, target, before, after)
select %(actor)s, 'price.add', a.provider || ':' || a.model,
       (select to_jsonb(p) - array['created_at', 'source_hash']
        from headrace.price_in_force(a.provider, a.model, a.effective_from) p where p.id is not null),
       to_jsonb(a) - array['created_at', 'source_hash']
from added a
returning id;
