-- An id belongs to one tenant: a job of another tenant with the same id is refused by this index, at no race and without a look
-- at the other tenant's row. The primary key stays (id, tenant_id), by which tenants can be distributed.
create unique index jobs_one_tenant on headrace.jobs (id);

-- These took neither the id nor run_at.
drop function if exists headrace.request_error(uuid, text, text, text, text, jsonb, jsonb, jsonb, jsonb, integer, timestamptz,
    text, text, text, jsonb, text, timestamptz);
drop function if exists headrace.request_error(text, text, text, text, jsonb, jsonb, jsonb, jsonb, jsonb, integer, timestamptz,
    text, text, text, jsonb, text, timestamptz);
