-- Passwords for the roles of storage/bootstrap.sql, and the login that migrates. Run after it, as a superuser, with psql;
-- safe to repeat: with other passwords in the environment, those are in force from then on.
--
--   export DEPLOY_PASSWORD=… APP_PASSWORD=… OPS_PASSWORD=… PRODUCER_PASSWORD=…
--   psql "$ADMIN_URL" --set ON_ERROR_STOP=1 --file storage/bootstrap.sql --file deploy/logins.sql

-- a variable that is missing stays unset, and what uses it below is a syntax error: nothing gets an empty password
\getenv deploy_password DEPLOY_PASSWORD
\getenv app_password APP_PASSWORD
\getenv ops_password OPS_PASSWORD
\getenv producer_password PRODUCER_PASSWORD

-- passwords belong in no log
set log_statement = 'none';
set log_min_duration_statement = -1;
set log_min_error_statement = 'panic';
set password_encryption = 'scram-sha-256';
set client_min_messages = 'warning';

begin;
select 'create role headrace_deploy login nosuperuser nobypassrls'
where not exists (select from pg_roles where rolname = 'headrace_deploy') \gexec
grant headrace_owner, headrace_ops to headrace_deploy;
alter role headrace_deploy password :'deploy_password';
alter role headrace_app password :'app_password';
alter role headrace_ops password :'ops_password';
alter role headrace_producer password :'producer_password';
commit;
