-- What a call cost that was answered, USD, by its tokens and by the service tier that came back (runs.priced_as):
--   null      at the price of what was asked for, in a batch or not
--   batch     at the price of the provider's batches
--   reserved  the tier has no price: what was reserved, or its tokens at the standard price where that is more. A cap
--             is not passed by the first, and the second is a bill beyond its bound, which is flagged.
-- A call that used no tokens has no tier, and costs nothing.
create or replace function headrace.run_cost(p headrace.model_prices, input bigint, cached bigint, cache_write bigint,
                                             output bigint, in_batch boolean, priced_as text, reserved_usd numeric)
returns numeric language sql immutable as $$
    select case when priced_as = 'reserved' and input + output > 0
           then greatest(reserved_usd, headrace.cost_of(p, input, cached, cache_write, output))
           else headrace.cost_of(p, input, cached, cache_write, output, in_batch
               or priced_as is not distinct from 'batch') end;
$$;
