-- A new default version, its pointer and its history row, unless this very text was published before. Run as
-- headrace_ops under the migration's lock, so version numbers do not race.
with born as (
    insert into headrace.prompts (id, tenant_id, name, version, description, body, variables, output_schema,
                                  max_output_tokens, min_output_tokens, content_hash, created_by)
    select %(id)s, null, %(name)s,
           1 + coalesce((select max(p.version) from headrace.prompts p where p.tenant_id is null and p.name = %(name)s), 0),
           %(description)s, %(body)s, %(variables)s, %(output_schema)s, %(max_output_tokens)s, %(min_output_tokens)s,
           %(content_hash)s, %(actor)s
    where not exists (select from headrace.prompts p
                      where p.tenant_id is null and p.name = %(name)s and p.content_hash = %(content_hash)s)
    returning id, name
),
before as (
    select o.prompt_id from headrace.prompt_pointers o where o.tenant_id is null and o.name = %(name)s
),
moved as (
    insert into headrace.prompt_pointers (tenant_id, name, prompt_id) select null, name, id from born
    on conflict (tenant_id, name) do update set prompt_id = excluded.prompt_id, moved_at = headrace.now()
)
insert into headrace.prompt_history (tenant_id, name, from_prompt_id, to_prompt_id, actor, reason)
select null, b.name, (select prompt_id from before), b.id, %(actor)s, 'published' from born b
returning id;
