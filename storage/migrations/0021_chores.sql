-- Chores of the schedulers: how each does, and what each had to set aside. Indexes by which they take turns by tenant.

-- One row for each chore, of all schedulers together.
create table headrace.chores (
    name                text primary key check (length(name) between 1 and 60),
    every_s             double precision not null check (every_s > 0),
    failures            bigint not null default 0 check (failures >= 0),   -- passes that ended with an unexpected error
    failed_at           timestamptz,
    last_error          text check (length(last_error) <= 1000),
    done_at             timestamptz                          -- it got through at about this time (noted every 10 s)
) with (fillfactor = 50);

-- What a chore could not do for what a row carries. The chore passes it by until `until`; `headrace doctor` names it.
create table headrace.set_aside (
    tenant_id           uuid not null,
    chore               text not null,
    job_id              uuid,                                -- null: all that the chore would do for this tenant
    error               text not null check (length(error) <= 1000),
    times               integer not null default 1 check (times >= 1),
    first_at            timestamptz not null default headrace.now(),
    until               timestamptz not null,
    unique nulls not distinct (tenant_id, chore, job_id)
) with (fillfactor = 70);
alter table headrace.set_aside enable row level security, force row level security;
create policy tenant_bound on headrace.set_aside to headrace_app, headrace_owner
    using (tenant_id = (select headrace.current_tenant())) with check (tenant_id = (select headrace.current_tenant()));
create policy operators on headrace.set_aside to headrace_ops using (true) with check (true);

-- Whose jobs are due, and whose have expired: a seek a tenant. The indexes by time alone stay: they tell in one seek
-- whether anything is.
create index queue_due_of_tenant on headrace.queue (tenant_id, run_at) where state = 'scheduled' and waits_for is null;
create index queue_expiring_of_tenant on headrace.queue (tenant_id, deadline)
    where deadline is not null and state <> 'running';
create index wakes_of_tenant on headrace.wakes (tenant_id, lane, id);
