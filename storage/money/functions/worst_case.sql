-- The most that a call may cost, USD: all input at the dearest rate that the bound can reach, all output allowed.
-- A provider's batch is discounted as a whole.
create or replace function headrace.worst_case(p headrace.model_prices, input_bound bigint, max_output bigint,
                                               in_batch boolean default false)
returns numeric language sql immutable
return (input_bound * greatest(
            p.input_usd, p.cached_input_usd, p.cache_write_usd,
            case when input_bound > p.long_from
                 then greatest(p.long_input_usd, p.long_cached_input_usd, p.long_cache_write_usd) end)
        + max_output * greatest(p.output_usd, case when input_bound > p.long_from then p.long_output_usd end)
       ) * 0.000001 * case when in_batch then 1 - p.batch_discount else 1 end;
