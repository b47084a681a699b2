-- Settle one run: price it, turn its reservation into spend, keep the rollup current. Fenced by the run's own status
-- (started or unknown), so a repeat does nothing and a zombie's true usage still corrects an *unknown* run.
-- Statuses: succeeded and failed cost what their tokens say (a refused call: none) at the price of the service tier
-- that came back (run_cost.sql); unknown costs the reserved worst case.
-- What waited for the caps is booked at the time after that wait.
-- Figures are made to fit (figure.sql), and parts of the input are no more than the input: without it there are none.
-- Locks: run → caps. Returns the cost in USD, or null when there was nothing to settle.
create or replace function headrace.settle_run(p_tenant uuid, p_run jsonb, v_now timestamptz)
returns numeric language plpgsql as $$
declare
    v_id uuid := p_run ->> 'id';
    v_status text := p_run ->> 'status';
    r headrace.runs;
    v_before headrace.runs;
    v_cost numeric;
    v_spent_before numeric;
    v_caps headrace.locked_cap[];
    v_input constant integer := headrace.figure(p_run, 'input_tokens');
    v_cached constant integer := case when v_input is not null
        then headrace.figure(p_run, 'cached_input_tokens', v_input) end;
    v_cache_write constant integer := case when v_input is not null
        then headrace.figure(p_run, 'cache_write_tokens', v_input - coalesce(v_cached, 0)) end;
    v_output constant integer := headrace.figure(p_run, 'output_tokens');
    v_priced_as constant text := case when p_run ->> 'priced_as' in ('batch', 'reserved')
        then p_run ->> 'priced_as' end;
    v_first boolean;   -- an unknown call was counted when it became unknown; what comes now corrects it
begin
    select * into v_before from headrace.runs
    where id = v_id and tenant_id = p_tenant and status in ('started', 'unknown') for no key update;
    if not found or (v_before.status = 'unknown' and v_status = 'unknown') then return null; end if;
    if v_before.key_owner = 'platform' then
        v_caps := headrace.lock_caps(p_tenant, v_before.user_id, v_before.feature);
        v_now := v_caps[1].at;
    end if;

    if v_status = 'unknown' then
        v_cost := v_before.reserved_usd;
    else
        select headrace.run_cost(m, coalesce(v_input, 0), coalesce(v_cached, 0), coalesce(v_cache_write, 0),
            coalesce(v_output, 0),
                                 v_before.processing = 'batch', v_priced_as, v_before.reserved_usd)
        into strict v_cost from headrace.model_prices m where m.id = v_before.price_id;
    end if;

    update headrace.runs set
        status = v_status, cost_usd = v_cost, over_reserved_usd = greatest(v_cost - v_before.reserved_usd, 0),
        input_tokens = v_input, cached_input_tokens = v_cached, cache_write_tokens = v_cache_write,
        output_tokens = v_output,
        reasoning_tokens = headrace.figure(p_run, 'reasoning_tokens'), error_code = left(p_run ->> 'error_code', 200),
        http_status = headrace.figure(p_run, 'http_status'), latency_ms = headrace.figure(p_run, 'latency_ms'),
        provider_request_id = left(p_run ->> 'provider_request_id', 200),
        answered_model = left(p_run ->> 'answered_model', 200), service_tier = left(p_run ->> 'service_tier', 200),
        priced_as = v_priced_as, settled_at = v_now
    where id = v_id and tenant_id = p_tenant returning * into r;

    v_spent_before := coalesce(v_before.cost_usd, 0);
    if r.key_owner = 'platform' then
        perform headrace.book(p_tenant, v_caps, r.created_at, v_cost - v_spent_before,
                              case when v_before.status = 'started' then -r.reserved_usd else 0 end);
        if v_before.status = 'started' then
            update headrace.reservations set amount_usd = amount_usd - r.reserved_usd
            where claim_id = r.claim_id and tenant_id = p_tenant;
        end if;
    end if;

    v_first := v_before.status = 'started';
    insert into headrace.spend_daily as d (day, tenant_id, user_id, feature, prompt_id, provider, model, key_owner,
        calls, failed_calls, input_tokens, cached_input_tokens, output_tokens, cost_usd, reserved_usd, over_calls,
        over_reserved_usd)
    values ((r.created_at at time zone 'UTC')::date, p_tenant, r.user_id, r.feature, r.prompt_id, r.provider, r.model,
        r.key_owner, v_first::integer, (r.status <> 'succeeded')::integer - (not v_first)::integer,
        coalesce(r.input_tokens, 0), coalesce(r.cached_input_tokens, 0), coalesce(r.output_tokens, 0),
        v_cost - v_spent_before, case when v_first then r.reserved_usd else 0 end,
        (r.over_reserved_usd > 0)::integer, r.over_reserved_usd)
    on conflict (tenant_id, day, user_id, feature, prompt_id, provider, model, key_owner) do update set
        calls = d.calls + excluded.calls, failed_calls = d.failed_calls + excluded.failed_calls,
        input_tokens = d.input_tokens + excluded.input_tokens,
        cached_input_tokens = d.cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = d.output_tokens + excluded.output_tokens, cost_usd = d.cost_usd + excluded.cost_usd,
        reserved_usd = d.reserved_usd + excluded.reserved_usd, over_calls = d.over_calls + excluded.over_calls,
        over_reserved_usd = d.over_reserved_usd + excluded.over_reserved_usd;
    perform headrace.bill(p_tenant, (v_now at time zone 'UTC')::date, v_first::integer, coalesce(r.input_tokens, 0),
                          coalesce(r.output_tokens, 0), case when r.key_owner = 'platform' then v_cost - v_spent_before
                              else 0 end);
    return v_cost;
end $$;
