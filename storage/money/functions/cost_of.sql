-- What a call cost, USD, by its tokens: cached input, cache writes and plain input each at its own rate, the whole
-- prompt at the long rates when it is longer than `long_from` (a cliff, as the providers bill it). Reasoning is output.
-- A call of a provider's batch has the discount on all of it.
create or replace function headrace.cost_of(p headrace.model_prices, input bigint, cached bigint, cache_write bigint,
                                            output bigint, in_batch boolean default false)
returns numeric language sql immutable
return case when input > p.long_from then
            ((input - cached - cache_write) * p.long_input_usd
             + cached * coalesce(p.long_cached_input_usd, p.long_input_usd)
             + cache_write * coalesce(p.long_cache_write_usd, p.long_input_usd)
             + output * p.long_output_usd) * 0.000001
       else ((input - cached - cache_write) * p.input_usd
             + cached * coalesce(p.cached_input_usd, p.input_usd)
             + cache_write * coalesce(p.cache_write_usd, p.input_usd)
             + output * p.output_usd) * 0.000001 end
       * case when in_batch then 1 - p.batch_discount else 1 end;
