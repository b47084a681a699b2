-- A cap's limit, USD; null: none. Its own, else by its scope: the tenant's (its own or its plan's) or a user's share of
-- that.
create or replace function headrace.cap_limit(p_own numeric, p_scope text, p_tenant_limit numeric, p_user_share numeric)
returns numeric language sql immutable
return coalesce(p_own, case p_scope when 'tenant' then p_tenant_limit
                            when 'user' then p_tenant_limit * p_user_share end);
