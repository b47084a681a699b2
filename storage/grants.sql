-- Who may do what, applied again at every migrate. Money and history are append-only where nothing needs more.

revoke all on all tables in schema headrace from public;
revoke all on all functions in schema headrace from public;
grant usage on schema headrace to headrace_app, headrace_ops, headrace_producer;

-- the application: reads by policy what is its tenant's, writes by functions alone
revoke all on all tables in schema headrace from headrace_app, headrace_producer;
grant select on headrace.plans, headrace.features, headrace.lanes, headrace.model_prices, headrace.tenants,
    headrace.prompts, headrace.prompt_pointers, headrace.prompt_history, headrace.jobs, headrace.queue,
    headrace.results,
    headrace.idempotency, headrace.job_events, headrace.job_status, headrace.runs, headrace.caps,
    headrace.spend_buckets,
    headrace.reservations, headrace.spend_daily, headrace.outbox, headrace.audit, headrace.chunks,
    headrace.provider_keys, headrace.rates, headrace.tenant_prices, headrace.billing_daily, headrace.concurrency,
    headrace.deployment to headrace_app;

-- operators: every tenant, by policy; still no bypass of row security and no history rewritten
grant select on all tables in schema headrace to headrace_ops;
grant insert, update, delete on headrace.producer_bindings to headrace_ops;
grant insert, update on headrace.tenants, headrace.plans, headrace.features, headrace.lanes, headrace.prompt_pointers,
    headrace.jobs, headrace.queue, headrace.runs, headrace.caps, headrace.spend_buckets,
    headrace.reservations, headrace.spend_daily, headrace.workers, headrace.slots, headrace.outbox,
    headrace.provider_keys, headrace.rates, headrace.tenant_prices, headrace.billing_daily, headrace.concurrency,
    headrace.slot_shares to headrace_ops;
grant insert, update, delete on headrace.chores, headrace.set_aside, headrace.schedulers to headrace_ops;
grant update on headrace.wake_signals to headrace_ops;
-- by the rules of retention only
grant delete on headrace.job_events, headrace.spend_buckets, headrace.caps to headrace_ops;
grant update on headrace.chore_locks, headrace.caps_guard_models, headrace.caps_guard_0, headrace.caps_guard_1,
    headrace.caps_guard_2,
    headrace.caps_guard_3, headrace.caps_guard_4, headrace.caps_guard_5, headrace.caps_guard_6, headrace.caps_guard_7
    to headrace_ops;  -- to lock, nothing else
grant maintain on headrace.queue to headrace_ops;  -- to vacuum it after many endings
grant update on headrace.wakes to headrace_ops;  -- FOR UPDATE SKIP LOCKED asks for it
grant insert on headrace.prompts, headrace.prompt_history, headrace.job_events, headrace.wakes, headrace.audit,
    headrace.results, headrace.idempotency, headrace.model_prices to headrace_ops;
revoke update on headrace.model_prices from headrace_ops;  -- a price row never changes: what follows it corrects it
grant delete on headrace.queue, headrace.reservations, headrace.wakes, headrace.slots, headrace.idempotency,
    headrace.workers, headrace.outbox, headrace.rates, headrace.concurrency,
    headrace.slot_shares to headrace_ops;

-- Every function that one of these may call is a way past the policies or it is not; so the application's are named.
-- Those that change something run as headrace_owner, which the policies bind as they bind the application.
revoke all on all functions in schema headrace from headrace_app, headrace_producer;
grant execute on all functions in schema headrace to headrace_ops;
grant execute on function headrace.enqueue, headrace.enqueue_many, headrace.result to headrace_producer, headrace_app;
grant execute on function headrace.enqueue_batch, headrace.claim, headrace.begin, headrace.settle,
    headrace.group_commit, headrace.group_commit_of_tenant, headrace.cancel, headrace.quote, headrace.quote_requests,
    headrace.quote_many to headrace_app;
-- policies and defaults call them
grant execute on function headrace.current_tenant, headrace.now, headrace.time_of to headrace_app;
