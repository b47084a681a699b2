-- What calls came to in whole UTC days from one to another (both included): a row for each combination of what is asked
-- for. What is not asked for is null. Index: the unique key of spend_daily when a tenant is given.
with sums as (
    select case when %(by_day)s::boolean then s.day end as day,
           case when %(by_tenant)s::boolean then s.tenant_id end as tenant_id,
           case when %(by_user)s::boolean then s.user_id end as user_id,
           case when %(by_feature)s::boolean then s.feature end as feature,
           case when %(by_prompt)s::boolean then s.prompt_id end as prompt_id,
           case when %(by_provider)s::boolean then s.provider end as provider,
           case when %(by_model)s::boolean then s.model end as model,
           case when %(by_key)s::boolean then s.key_owner end as key_owner,
           sum(s.calls)::bigint as calls, sum(s.failed_calls)::bigint as failed_calls,
           sum(s.input_tokens)::bigint as input_tokens, sum(s.cached_input_tokens)::bigint as cached_input_tokens,
           sum(s.output_tokens)::bigint as output_tokens, sum(s.cost_usd) as cost_usd,
           sum(s.reserved_usd) as reserved_usd,
           sum(s.over_calls)::bigint as over_calls, sum(s.over_reserved_usd) as over_reserved_usd
    from headrace.spend_daily s
    where s.day between %(since)s::date and %(until)s::date
      and (%(tenant_id)s::uuid is null or s.tenant_id = %(tenant_id)s)
    group by 1, 2, 3, 4, 5, 6, 7, 8
)
select s.day, coalesce(t.name, s.tenant_id::text) as tenant, s.tenant_id::text as tenant_id, s.user_id as "user",
       s.feature,
       coalesce(p.name, s.prompt_id::text) as prompt, p.version, s.prompt_id::text as prompt_id,
       s.provider, s.model, s.key_owner,
       s.calls, s.failed_calls, s.input_tokens, s.cached_input_tokens, s.output_tokens, s.cost_usd,
       s.reserved_usd, s.over_calls, s.over_reserved_usd
from sums s
left join headrace.tenants t on t.id = s.tenant_id
left join headrace.prompts p on p.id = s.prompt_id
order by s.day, s.cost_usd desc, tenant, s.tenant_id, s.user_id, s.feature, prompt, p.version, s.prompt_id, s.provider,
         s.model, s.key_owner;
