-- Row security: the walls between tenants. Forced, so that the policies bind the owner too.

-- the application and the owner see the tenant of their transaction; operators see every tenant
do $$
declare t text;
begin
    foreach t in array array[
        'jobs', 'queue', 'results', 'idempotency', 'job_events', 'wakes', 'runs', 'caps', 'spend_buckets',
        'reservations', 'rates', 'spend_daily', 'tenant_prices', 'billing_daily', 'outbox', 'set_aside',
        'provider_keys', 'producer_bindings', 'chunks', 'audit'
    ] loop
        execute format('alter table headrace.%I enable row level security, force row level security', t);
        execute format($p$create policy tenant_bound on headrace.%I to headrace_app, headrace_owner
            using (tenant_id = (select headrace.current_tenant()))
            with check (tenant_id = (select headrace.current_tenant()))$p$, t);
        execute format('create policy operators on headrace.%I to headrace_ops using (true) with check (true)', t);
    end loop;
end $$;

-- A row without a tenant is everybody's to read: a default prompt; the concurrency cap of a model, since whom it binds
-- may read it, and a model's binds everybody.
do $$
declare t text;
begin
    foreach t in array array['prompts', 'prompt_pointers', 'prompt_history', 'concurrency'] loop
        execute format('alter table headrace.%I enable row level security, force row level security', t);
        execute format($p$create policy tenant_bound on headrace.%I to headrace_app, headrace_owner
            using (tenant_id = (select headrace.current_tenant())
                   or (tenant_id is null and (select headrace.current_tenant()) is not null))
            with check (tenant_id = (select headrace.current_tenant()))$p$, t);
        execute format('create policy operators on headrace.%I to headrace_ops using (true) with check (true)', t);
    end loop;
end $$;

alter table headrace.tenants enable row level security, force row level security;
create policy tenant_bound on headrace.tenants to headrace_app, headrace_owner
    using (id = (select headrace.current_tenant())) with check (id = (select headrace.current_tenant()));
create policy operators on headrace.tenants to headrace_ops using (true) with check (true);

-- a partition that is named by itself; no policy of its own, so nobody of ours reads it
alter table headrace.jobs_default enable row level security, force row level security;
alter table headrace.runs_default enable row level security, force row level security;

-- An exported day never changes, whoever asks: no role of ours can see it for an update.
create policy exported_stays on headrace.billing_daily as restrictive for update
    using (exported_at is null) with check (true);

-- enqueue has to know whether the login that calls has any
create policy own_login on headrace.producer_bindings for select to headrace_owner using (login = session_user);
