-- The runs held against a provider's own journal (a JSON list of calls: client_request_id, status, input_tokens,
-- output_tokens). Every known run is equal to its call; an unknown one reserved at least what the call cost; a call has
-- one run; a run that reached the provider is in the journal. A row is a breach. A journal reaches back to its first
-- call only (a simulator that starts again begins a new one): older runs are not held against it.
with
journal as (
    select x.client_request_id::uuid as id, count(*) as times, min(x.status) as status,
           max(x.input_tokens) as input_tokens,
           max(x.output_tokens) as output_tokens
    from jsonb_to_recordset(%s) as x(client_request_id text, status integer, input_tokens integer,
        output_tokens integer)
    where x.client_request_id is not null group by x.client_request_id
),
held as (
    select j.id as call_id, j.times, j.status as answered, j.input_tokens as billed_in, j.output_tokens as billed_out,
           r.*
    from journal j full join headrace.runs r on r.id = j.id
)
select 'call_has_a_run' as check, null::uuid as tenant_id, call_id as subject,
       jsonb_build_object('answered', answered) as facts
from held where id is null
union all
select 'call_made_once', tenant_id, call_id, jsonb_build_object('times', times) from held where times > 1
union all
select 'run_equals_its_call', tenant_id, id, jsonb_build_object('status', status, 'http_status', http_status,
    'answered', answered,
       'input_tokens', input_tokens, 'billed_in', billed_in, 'output_tokens', output_tokens, 'billed_out', billed_out)
from held where call_id is not null and (
    (status = 'succeeded' and (answered, billed_in, billed_out) is distinct from (200, input_tokens, output_tokens))
    or (status = 'failed' and (answered, billed_in, billed_out)
                              is distinct from (http_status, coalesce(input_tokens, 0), coalesce(output_tokens, 0))))
union all
select 'unknown_call_was_reserved', h.tenant_id, h.id, jsonb_build_object('reserved_usd', h.reserved_usd::text)
from held h join headrace.model_prices p on p.id = h.price_id
where h.call_id is not null and h.status = 'unknown'
  and headrace.cost_of(p, h.billed_in, 0, 0, h.billed_out) > h.reserved_usd
union all
select 'known_run_reached_the_provider', tenant_id, id, jsonb_build_object('status', status, 'error_code', error_code)
from held where call_id is null and status in ('succeeded', 'failed')
            and coalesce(error_code, '') not in ('provider_unreachable', 'provider_not_sent', 'breaker_open',
                'rate_limit_held', 'deadline_passed')
            and id >= (select min(j.id::text)::uuid from journal j);
