-- Every price row, or those of one model, the oldest of each model first.
select m.provider, m.model, m.effective_from, m.input_usd, m.cached_input_usd, m.cache_write_usd, m.output_usd,
       m.long_from,
       m.long_input_usd, m.long_cached_input_usd, m.long_cache_write_usd, m.long_output_usd, m.batch_discount, m.source
from headrace.model_prices m
where m.model = %(model)s or %(model)s::text is null
order by m.provider, m.model, m.effective_from;
