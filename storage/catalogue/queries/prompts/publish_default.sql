-- What the file of a default prompt says, published. A text that is new becomes a new version and the active one. A
-- text of before, when the file said another one at the last migrate, makes the version that has it the active one
-- again. A file that did not change since then leaves the pointer where it is: a restart does not undo a rollback.
-- Versions are immutable.
-- version: the one that has the file's text; active: the one that is active now; was: the one that was (null: none).
-- Run as headrace_ops under the lock of this chore, so version numbers do not race.
with pointer as (
    select o.prompt_id, o.file_hash, p.version
    from headrace.prompt_pointers o join headrace.prompts p on p.id = o.prompt_id
    where o.tenant_id is null and o.name = %(name)s
),
known as (
    select p.id, p.version from headrace.prompts p
    where p.tenant_id is null and p.name = %(name)s and p.content_hash = %(content_hash)s order by p.version desc
    limit 1
),
born as (
    insert into headrace.prompts (id, tenant_id, name, version, description, body, variables, output_schema,
                                  max_output_tokens, min_output_tokens, content_hash, created_by)
    select %(id)s, null, %(name)s,
           1 + coalesce((select max(p.version) from headrace.prompts p where p.tenant_id is null and p.name = %(name)s),
               0),
           %(description)s, %(body)s, %(variables)s, %(output_schema)s, %(max_output_tokens)s, %(min_output_tokens)s,
           %(content_hash)s, %(actor)s
    where not exists (select from known)
    returning id, version
),
target as (
    select b.id, b.version, 'published' as reason from born b
    union all
    select k.id, k.version, 'published again' from known k
    where not exists (select from pointer o where o.file_hash = %(content_hash)s)
),
moved as (
    insert into headrace.prompt_pointers as o (tenant_id, name, prompt_id, file_hash)
    select null, %(name)s, t.id, %(content_hash)s from target t
    on conflict (tenant_id, name) do update set prompt_id = excluded.prompt_id, file_hash = excluded.file_hash,
        moved_at = case when o.prompt_id = excluded.prompt_id then o.moved_at else headrace.now() end
),
noted as (
    insert into headrace.prompt_history (tenant_id, name, from_prompt_id, to_prompt_id, actor, reason)
    select null, %(name)s, (select o.prompt_id from pointer o), t.id, %(actor)s, t.reason
    from target t where t.id is distinct from (select o.prompt_id from pointer o)
)
select coalesce((select b.version from born b), (select k.version from known k)) as version,
       coalesce((select t.version from target t), (select o.version from pointer o)) as active,
       (select o.version from pointer o) as was, exists (select from born) as is_new;
