-- Who may do what, applied again at every migrate. Money and history are append-only where nothing needs more.

revoke all on all tables in schema headrace from public;
revoke all on all functions in schema headrace from public;
grant usage on schema headrace to headrace_app, headrace_ops, headrace_producer;

-- the application: tenant-bound by policy on every table
grant select on headrace.plans, headrace.features, headrace.lanes, headrace.model_prices, headrace.tenants,
    headrace.prompts, headrace.prompt_pointers, headrace.prompt_history, headrace.jobs, headrace.queue, headrace.results,
    headrace.idempotency, headrace.job_events, headrace.job_status, headrace.runs, headrace.caps, headrace.spend_buckets,
    headrace.reservations, headrace.spend_daily, headrace.outbox, headrace.audit, headrace.chunks,
    headrace.provider_keys, headrace.rates, headrace.tenant_prices, headrace.billing_daily, headrace.concurrency,
    headrace.deployment to headrace_app;
grant insert on headrace.jobs, headrace.queue, headrace.results, headrace.idempotency, headrace.job_events, headrace.wakes,
    headrace.runs, headrace.caps, headrace.spend_buckets, headrace.reservations, headrace.spend_daily,
    headrace.billing_daily, headrace.outbox, headrace.chunks to headrace_app;
grant update on headrace.jobs, headrace.queue, headrace.runs, headrace.caps, headrace.spend_buckets,
    headrace.reservations, headrace.spend_daily, headrace.billing_daily to headrace_app;
grant delete on headrace.queue, headrace.reservations, headrace.chunks to headrace_app;
grant select, insert, update on headrace.slot_shares to headrace_app;
grant select, update, delete on headrace.slots to headrace_app;  -- a retired one goes when it is let go
grant select on headrace.workers to headrace_app;

-- operators: every tenant, by policy; still no bypass of row security and no history rewritten
grant select on all tables in schema headrace to headrace_ops;
grant insert, update on headrace.tenants, headrace.plans, headrace.features, headrace.lanes, headrace.prompt_pointers,
    headrace.jobs, headrace.queue, headrace.runs, headrace.caps, headrace.spend_buckets,
    headrace.reservations, headrace.spend_daily, headrace.workers, headrace.slots, headrace.outbox,
    headrace.provider_keys, headrace.rates, headrace.tenant_prices, headrace.billing_daily, headrace.concurrency,
    headrace.slot_shares to headrace_ops;
grant insert, update, delete on headrace.chores, headrace.set_aside to headrace_ops;
grant update on headrace.wakes to headrace_ops;  -- FOR UPDATE SKIP LOCKED asks for it
grant insert on headrace.prompts, headrace.prompt_history, headrace.job_events, headrace.wakes, headrace.audit,
    headrace.results, headrace.idempotency, headrace.model_prices to headrace_ops;
revoke update on headrace.model_prices from headrace_ops;  -- a price row never changes: what follows it corrects it
grant delete on headrace.queue, headrace.reservations, headrace.wakes, headrace.slots, headrace.idempotency,
    headrace.workers, headrace.outbox, headrace.rates, headrace.concurrency,
    headrace.slot_shares to headrace_ops;

grant execute on all functions in schema headrace to headrace_app, headrace_ops;
grant execute on function headrace.enqueue to headrace_producer;
revoke execute on function headrace.ensure_partitions, headrace.make_partition, headrace.lock_quietly, headrace.months_missing,
    headrace.take_back, headrace.release_due, headrace.expire,
    headrace.drain_wakes, headrace.analyze_grown, headrace.release_for_money, headrace.release_for_rate,
    headrace.reprice, headrace.close_day, headrace.release_for_slots, headrace.set_concurrency, headrace.lend_slots,
    headrace.bursting from headrace_app;
