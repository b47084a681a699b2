-- A pointer names a version of its own tenant, or a default one where it says so: the foreign key carries whose the version
-- is. A key of (tenant_id, id) alone would not do, since a null in it is not checked, and defaults have no tenant.
alter table headrace.prompts no force row level security;  -- the owner is bound by the policies too, and no tenant is set here
alter table headrace.prompt_pointers no force row level security;

alter table headrace.prompts
    add column of_whom uuid generated always as (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid)) stored,
    add constraint prompts_id_of_whom_key unique (id, of_whom);
alter table headrace.prompt_pointers
    add column to_default boolean not null default false,       -- of a tenant, and it names a default version
    add column prompt_of_whom uuid generated always as (
        case when to_default or tenant_id is null then '00000000-0000-0000-0000-000000000000'::uuid else tenant_id end) stored,
    add check (not to_default or tenant_id is not null),
    drop constraint prompt_pointers_prompt_id_fkey,
    add constraint prompt_pointers_prompt_fkey foreign key (prompt_id, prompt_of_whom)
        references headrace.prompts (id, of_whom);

alter table headrace.prompts force row level security;
alter table headrace.prompt_pointers force row level security;
