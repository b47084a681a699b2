-- Run first at every migrate, as the login role of the owner URL: roles, schema and what only it may create.
-- Whatever exists is left alone, so an administrator can prepare all of it by hand (docs/how-to/own-postgres.md).

do $$
declare r text;
begin
    foreach r in array array['headrace_owner', 'headrace_app', 'headrace_ops', 'headrace_producer'] loop
        if not exists (select from pg_roles where rolname = r) then
            execute format('create role %I nosuperuser nobypassrls %s', r,
                           case r when 'headrace_owner' then 'nologin' else 'login' end);
        end if;
    end loop;
    -- the owner makes the schema, the operators' role publishes default prompts and prices
    foreach r in array array['headrace_owner', 'headrace_ops'] loop
        if not pg_has_role(current_user, r, 'set') then
            execute format('grant %I to %I', r, current_user);
        end if;
    end loop;
    if not exists (select from pg_namespace where nspname = 'headrace') then
        create schema headrace authorization headrace_owner;
    end if;
    if not exists (select from pg_extension where extname = 'vector') then
        create extension vector with schema headrace;
    end if;
    -- lets enqueue() carry `SET app.tenant_id = ''`, which restores the caller's own value on return
    if not has_parameter_privilege('headrace_owner', 'app.tenant_id', 'set') then
        grant set on parameter app.tenant_id to headrace_owner;
    end if;
    -- No session of ours works, waits for a lock or idles in a transaction for ever. Settings of a login hold behind a
    -- pooler too, where those of a connection do not. What an administrator has set is left alone; so is all where this
    -- login may not change others (docs/how-to/own-postgres.md has the statements).
    foreach r in array array['headrace_app', 'headrace_ops'] loop
        continue when exists (
            select from pg_db_role_setting s join pg_roles o on o.oid = s.setrole
            where o.rolname = r and s.setdatabase in (0,
                (select d.oid from pg_database d where d.datname = current_database())));
        begin
            execute format('alter role %I in database %I set statement_timeout = %L', r, current_database(),
                           case r when 'headrace_app' then '60s' else '10min' end);
            execute format('alter role %I in database %I set lock_timeout = %L', r, current_database(), '10s');
            execute format('alter role %I in database %I set idle_in_transaction_session_timeout = %L', r,
                current_database(),
                           case r when 'headrace_app' then '60s' else '5min' end);
        exception when insufficient_privilege then
            null;
        end;
    end loop;
end $$;
