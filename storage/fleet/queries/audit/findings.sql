-- Every promise, checked on a live system in one snapshot. A row is a breach: which check, about what, and the facts.
-- What is in motion is not a breach: a job that is claimed now may hold a reservation and an open call.
with
-- how far back hourly spend is compared: it is kept for three days (docs/reference/retention.md)
reach as materialized (select date_trunc('hour', headrace.now(), 'UTC') - interval '2 days' as hour),
two_states as (
    select 'one_state' as check, j.tenant_id, j.id as subject,
           jsonb_build_object('outcome', j.outcome, 'queue', q.state) as facts
    from headrace.jobs j left join headrace.queue q on q.id = j.id and q.tenant_id = j.tenant_id
    where (j.outcome is null) = (q.id is null)
),
orphan_rows as (
    select 'no_orphan_queue_row', q.tenant_id, q.id, jsonb_build_object('state', q.state)
    from headrace.queue q left join headrace.jobs j on j.id = q.id and j.tenant_id = q.tenant_id where j.id is null
),
results as (
    select 'one_result', j.tenant_id, j.id, jsonb_build_object('outcome', j.outcome, 'has_result', r.job_id is not null)
    from headrace.jobs j left join headrace.results r on r.job_id = j.id and r.tenant_id = j.tenant_id
    where (j.outcome = 'succeeded') is distinct from (r.job_id is not null)
      and (j.outcome is not null or r.job_id is not null)
),
answers as (
    select 'result_has_its_run', r.tenant_id, r.job_id, jsonb_build_object('run_id', r.run_id, 'status', x.status)
    from headrace.results r left join headrace.runs x on x.id = r.run_id and x.tenant_id = r.tenant_id
    where x.job_id is distinct from r.job_id
       -- an answer whose usage cannot be known costs its reservation, as an unknown call does
       or not (x.status = 'succeeded' or (x.status = 'unknown' and x.error_code in ('usage_absurd', 'usage_missing')))
),
last_claims as (
    -- a worker that lost its job cannot end it: what was kept is the answer of the claim that ended the job
    select 'result_is_of_the_last_claim', r.tenant_id, r.job_id,
           jsonb_build_object('run_id', r.run_id, 'claim_id', x.claim_id, 'ended_claim', j.ended_claim)
    from headrace.results r
    join headrace.jobs j on j.id = r.job_id and j.tenant_id = r.tenant_id
    join headrace.runs x on x.id = r.run_id and x.tenant_id = r.tenant_id
    where x.status in ('succeeded', 'unknown') and x.job_id = r.job_id and x.claim_id is distinct from j.ended_claim
),
unknowns as (
    select 'unknown_call_costs_its_reservation', r.tenant_id, r.id,
           jsonb_build_object('cost_usd', r.cost_usd::text, 'reserved_usd', r.reserved_usd::text)
    from headrace.runs r where r.status = 'unknown' and r.cost_usd <> r.reserved_usd
),
reservations as (
    select 'reservation_has_a_live_claim', r.tenant_id, r.claim_id, jsonb_build_object('amount_usd', r.amount_usd::text)
    from headrace.reservations r
    where not exists (select from headrace.queue q where q.claim_id = r.claim_id and q.tenant_id = r.tenant_id)
),
open_runs as (
    select 'open_call_has_a_live_claim', r.tenant_id, r.id, jsonb_build_object('claim_id', r.claim_id)
    from headrace.runs r
    where r.status = 'started'
      and not exists (select from headrace.queue q where q.claim_id = r.claim_id and q.tenant_id = r.tenant_id)
),
reserved as (
    select 'caps_hold_what_is_reserved', c.tenant_id, null::uuid,
           jsonb_build_object('scope', c.scope, 'key', c.key, 'reserved_usd', c.reserved_usd::text, 'reservations_usd',
               coalesce(sum(r.amount_usd), 0)::text)
    from headrace.caps c
    left join headrace.reservations r on r.tenant_id = c.tenant_id
         and c.key = case c.scope when 'tenant' then '' when 'user' then r.user_id else r.feature end
    group by c.tenant_id, c.scope, c.key, c.reserved_usd
    having c.reserved_usd <> coalesce(sum(r.amount_usd), 0)
),
spent as (
    select r.tenant_id, s.scope, s.key, date_trunc('hour', r.created_at, 'UTC') as hour, sum(r.cost_usd) as runs_usd
    from headrace.runs r
    cross join lateral (values ('tenant', ''), ('user', r.user_id), ('feature', r.feature)) s(scope, key)
    where r.key_owner = 'platform' and r.cost_usd is not null and r.created_at >= (select hour from reach)
    group by 1, 2, 3, 4
),
ledger as (
    select 'ledger_equals_runs', coalesce(s.tenant_id, b.tenant_id), null::uuid,
           jsonb_build_object('scope', coalesce(s.scope, b.scope), 'key', coalesce(s.key, b.key), 'hour',
               coalesce(s.hour, b.hour),
                              'runs_usd', coalesce(s.runs_usd, 0)::text, 'ledger_usd', coalesce(b.spent_usd, 0)::text)
    from spent s full join (select * from headrace.spend_buckets where hour >= (select hour from reach)) b
         on b.tenant_id = s.tenant_id and b.scope = s.scope and b.key = s.key and b.hour = s.hour
    where coalesce(s.runs_usd, 0) <> coalesce(b.spent_usd, 0)
),
windows as (
    select 'window_equals_buckets', c.tenant_id, null::uuid,
           jsonb_build_object('scope', c.scope, 'key', c.key, 'spent_usd', c.spent_usd::text, 'buckets_usd',
               coalesce(sum(b.spent_usd), 0)::text)
    from headrace.caps c
    left join headrace.spend_buckets b on b.tenant_id = c.tenant_id and b.scope = c.scope and b.key = c.key
         and b.hour >= c.hour - interval '24 hours'
    where c.hour >= (select hour from reach) + interval '24 hours'
    group by c.tenant_id, c.scope, c.key, c.spent_usd
    having c.spent_usd <> coalesce(sum(b.spent_usd), 0)
),
daily as (
    select (created_at at time zone 'UTC')::date as day, tenant_id, user_id, feature, prompt_id, provider, model,
           key_owner,
           count(*) as calls, count(*) filter (where status <> 'succeeded') as failed_calls,
           sum(coalesce(input_tokens, 0)) as input_tokens, sum(coalesce(cached_input_tokens, 0)) as cached_input_tokens,
           sum(coalesce(output_tokens, 0)) as output_tokens, sum(cost_usd) as cost_usd
    from headrace.runs where cost_usd is not null group by 1, 2, 3, 4, 5, 6, 7, 8
),
rollups as (
    select 'rollup_equals_runs', coalesce(d.tenant_id, x.tenant_id), null::uuid,
           jsonb_build_object('day', coalesce(d.day, x.day), 'user', coalesce(d.user_id, x.user_id), 'model',
               coalesce(d.model, x.model),
                              'runs_usd', d.cost_usd::text, 'rollup_usd', x.cost_usd::text, 'calls', d.calls,
                              'rollup_calls', x.calls)
    from daily d full join headrace.spend_daily x
         on x.tenant_id = d.tenant_id and x.day = d.day and x.user_id = d.user_id and x.feature = d.feature
        and x.prompt_id is not distinct from d.prompt_id and x.provider = d.provider and x.model = d.model
        and x.key_owner = d.key_owner
    where (d.calls, d.failed_calls, d.input_tokens, d.cached_input_tokens, d.output_tokens, d.cost_usd)
          is distinct from (x.calls, x.failed_calls, x.input_tokens, x.cached_input_tokens, x.output_tokens, x.cost_usd)
),
billed as (
    select 'billing_equals_runs', coalesce(r.tenant_id, b.tenant_id), null::uuid,
           jsonb_build_object('runs_usd', r.usd::text, 'billing_usd', b.usd::text, 'calls', r.calls, 'billing_calls',
               b.calls,
                              'tokens', r.tokens, 'billing_tokens', b.tokens)
    from (select tenant_id, count(*) as calls, sum(coalesce(input_tokens, 0)::bigint + coalesce(output_tokens, 0))
        as tokens,
                 coalesce(sum(cost_usd) filter (where key_owner = 'platform'), 0) as usd
          from headrace.runs where cost_usd is not null group by tenant_id) r
    full join (select tenant_id, sum(calls) as calls, sum(input_tokens + output_tokens) as tokens,
        sum(platform_usd) as usd
               from headrace.billing_daily group by tenant_id) b on b.tenant_id = r.tenant_id
    where (r.calls, r.tokens, r.usd) is distinct from (b.calls, b.tokens, b.usd)
),
taken_slots as (
    select 'taken_slot_has_a_live_claim', t.tenant_id, s.claim_id, jsonb_build_object('cap_key', s.cap_key, 'n', s.n)
    from headrace.slots s
    left join headrace.concurrency t on headrace.slot_key(t.tenant_id, t.scope, t.key) = s.cap_key
    where s.claim_id is not null and not exists (select from headrace.queue q where q.claim_id = s.claim_id)
),
slots_of_caps as (
    -- what was taken when a cap was lowered under it is retired, what is lent is beyond it: neither counts
    select 'cap_has_its_slots', c.tenant_id, null::uuid,
           jsonb_build_object('scope', c.scope, 'key', c.key, 'cap', c.slots, 'slots', count(s.n), 'taken',
               count(s.claim_id))
    from headrace.concurrency c
    left join headrace.slots s on s.cap_key = headrace.slot_key(c.tenant_id, c.scope, c.key) and not s.retired
        and not s.lent
    group by c.tenant_id, c.scope, c.key, c.slots having count(s.n) <> c.slots
),
without_slot as (
    select 'running_job_holds_its_slots', q.tenant_id, q.id,
           jsonb_build_object('scope', c.scope, 'key', c.key, 'claim_id', q.claim_id)
    from headrace.concurrency c
    join headrace.queue q on q.tenant_id = c.tenant_id and q.state = 'running'
         and c.key = case c.scope when 'lane' then q.lane when 'feature' then q.feature end
    where not exists (select from headrace.slots s where s.claim_id = q.claim_id
                      and s.cap_key = headrace.slot_key(c.tenant_id, c.scope, c.key))
),
over_caps as (
    select 'no_cap_is_passed', c.tenant_id, null::uuid,
           jsonb_build_object('scope', c.scope, 'key', c.key, 'spent_usd', c.spent_usd::text, 'reserved_usd',
               c.reserved_usd::text, 'over_reserved_usd', o.over_usd::text)
    from headrace.caps c
    join headrace.tenants t on t.id = c.tenant_id
    join headrace.plans p on p.name = t.plan
    cross join lateral (select coalesce(c.limit_usd, case c.scope when 'tenant'
        then coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd)
                               when 'user' then coalesce(t.daily_cost_cap_usd, p.daily_cost_cap_usd) * p.user_share end)
                                   as usd) l
    cross join lateral (select coalesce(sum(r.over_reserved_usd), 0) as over_usd from headrace.runs r
                        where r.tenant_id = c.tenant_id and r.created_at >= c.hour - interval '24 hours') o
    -- calls that were priced anew may cost more than the price they were reserved at
    cross join lateral (select coalesce(sum((a.after ->> 'raised_usd')::numeric), 0) as raised_usd from headrace.audit a
                        where a.tenant_id = c.tenant_id and a.action = 'run.reprice'
                          and a.at >= c.hour - interval '24 hours') n
    -- a bill beyond the bound is recorded in full and flagged; a cap lowered below its spend is no overspend either:
    -- its own, the tenant's, or the plan's. What was done to one user or feature ('user:ann') excuses no other.
    where c.spent_usd + c.reserved_usd > l.usd + o.over_usd + n.raised_usd
      and not exists (select from headrace.audit a where a.tenant_id = c.tenant_id and a.action like '%%set_cap'
                      and (strpos(a.target, ':') = 0 or a.target = c.scope || ':' || c.key)
                      and a.at >= c.hour - interval '24 hours')
      and not exists (select from headrace.audit a where a.tenant_id is null and a.action like '%%set_cap'
                      and a.target = 'plan:' || t.plan and c.scope <> 'feature'
                      and a.at >= c.hour - interval '24 hours')
),
odd_ids as (
    -- what is kept for an id in another form than the composed one binds nobody: it was put there by hand, or before
    -- ids were composed, and the composed id has a limit of its own
    select 'limit_is_of_a_composed_id', l.tenant_id, null::uuid,
           jsonb_build_object('kind', l.kind, 'scope', l.scope, 'key', l.key)
    from (select tenant_id, scope, key, 'cap' as kind from headrace.caps where limit_usd is not null
          union all select tenant_id, scope, key, 'rate' from headrace.rates) l
    where l.key is not nfc normalized
)
select * from two_states union all select * from orphan_rows union all select * from results
    union all select * from answers
union all select * from last_claims union all select * from unknowns
union all select * from reservations union all select * from open_runs union all select * from reserved
union all select * from ledger union all select * from windows union all select * from rollups
    union all select * from billed
union all select * from taken_slots union all select * from slots_of_caps union all select * from without_slot
    union all select * from over_caps
union all select * from odd_ids;
