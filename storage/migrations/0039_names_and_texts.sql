-- Two tenants of one name are refused unless it is said that they share it. An index holds it, so that of two who race one is
-- refused, whichever way they come. Of tenants that have one name by now, the oldest has it.
alter table headrace.tenants add column shares_name boolean not null default false;
comment on column headrace.tenants.shares_name is 'it may have the name of another tenant';
alter table headrace.tenants no force row level security;
update headrace.tenants t set shares_name = true
where exists (select from headrace.tenants o where o.name = t.name and (o.created_at, o.id) < (t.created_at, t.id));
alter table headrace.tenants force row level security;
create unique index tenants_one_name on headrace.tenants (name) where not shares_name;

-- The text that the file of a default prompt had at the last migrate: a file that went back to a text of before makes that
-- version the active one, and a file that did not change leaves the pointer where an operator has put it.
alter table headrace.prompt_pointers add column file_hash bytea;
comment on column headrace.prompt_pointers.file_hash is 'content_hash of what the file said at the last migrate; null: a tenant''s own';
alter table headrace.prompt_pointers no force row level security;
alter table headrace.prompts no force row level security;
update headrace.prompt_pointers o set file_hash = (
    select p.content_hash from headrace.prompts p
    where p.tenant_id is null and p.name = o.name and p.created_by = 'migrate' order by p.version desc limit 1)
where o.tenant_id is null;
alter table headrace.prompts force row level security;
alter table headrace.prompt_pointers force row level security;
