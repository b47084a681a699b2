-- The schema that the migrations make. Written by `make schema`; tests/storage/test_schema.py compares. Functions are
-- in storage/<room>/functions/. The partitions of months are made by headrace.ensure_partitions.

CREATE SCHEMA headrace;

CREATE TABLE headrace.jobs (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    user_id text NOT NULL,
    feature text NOT NULL,
    lane text NOT NULL,
    prompt text,
    variables jsonb,
    messages jsonb,
    context jsonb,
    output_schema jsonb,
    max_output_tokens integer,
    estimated_tokens bigint NOT NULL,
    run_at timestamp with time zone,
    deadline timestamp with time zone,
    on_over_budget text DEFAULT 'fail'::text NOT NULL,
    on_unknown text DEFAULT 'retry'::text NOT NULL,
    force_tier text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    idempotency_key text,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    outcome text,
    reason text,
    error jsonb,
    attempts integer DEFAULT 0 NOT NULL,
    first_claimed_at timestamp with time zone,
    ended_at timestamp with time zone,
    ended_claim uuid,
    asked_again_as uuid,
    repeats uuid,
    CONSTRAINT jobs_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT jobs_check CHECK ((num_nonnulls(prompt, messages) = 1)),
    CONSTRAINT jobs_check1 CHECK (((outcome IS NULL) = (ended_at IS NULL))),
    CONSTRAINT jobs_check2 CHECK ((((outcome = ANY (ARRAY['failed'::text, 'rejected'::text])) IS NOT TRUE) OR (reason IS NOT NULL))),
    CONSTRAINT jobs_estimated_tokens_check CHECK ((estimated_tokens >= 1)),
    CONSTRAINT jobs_force_tier_check CHECK ((force_tier = ANY (ARRAY['cheap'::text, 'strong'::text]))),
    CONSTRAINT jobs_max_output_tokens_check CHECK (((max_output_tokens >= 1) AND (max_output_tokens <= 200000))),
    CONSTRAINT jobs_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT jobs_on_over_budget_check CHECK ((on_over_budget = ANY (ARRAY['fail'::text, 'wait'::text]))),
    CONSTRAINT jobs_on_unknown_check CHECK ((on_unknown = ANY (ARRAY['retry'::text, 'fail'::text]))),
    CONSTRAINT jobs_outcome_check CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'failed'::text, 'rejected'::text, 'cancelled'::text, 'expired'::text]))),
    CONSTRAINT jobs_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 200)))
)
PARTITION BY RANGE (id);

ALTER TABLE ONLY headrace.jobs FORCE ROW LEVEL SECURITY;

COMMENT ON COLUMN headrace.jobs.asked_again_as IS 'the job that asks for this one anew; set once';

COMMENT ON COLUMN headrace.jobs.repeats IS 'the job that ended without an answer and that this one asks for anew';

CREATE VIEW headrace.job_request WITH (security_invoker='true') AS
 SELECT tenant_id,
    created_at,
    id,
    user_id,
    feature,
    prompt,
    variables,
    messages,
    context,
    output_schema,
    max_output_tokens,
    lane,
    idempotency_key,
    run_at,
    deadline,
    on_over_budget,
    on_unknown,
    force_tier,
    metadata,
    estimated_tokens
   FROM headrace.jobs;

CREATE TYPE headrace.checked_request AS (
	index integer,
	request headrace.job_request,
	body_hash bytea,
	error jsonb
);

CREATE TYPE headrace.locked_cap AS (
	scope text,
	key text,
	limit_usd numeric,
	spent_usd numeric,
	reserved_usd numeric,
	at timestamp with time zone
);

CREATE TABLE headrace.concurrency (
    tenant_id uuid,
    scope text NOT NULL,
    key text NOT NULL,
    slots integer NOT NULL,
    burst boolean DEFAULT false NOT NULL,
    CONSTRAINT concurrency_check CHECK (((scope = 'model'::text) = (tenant_id IS NULL))),
    CONSTRAINT concurrency_check1 CHECK (((NOT burst) OR (scope <> 'model'::text))),
    CONSTRAINT concurrency_key_check CHECK ((key <> ''::text)),
    CONSTRAINT concurrency_scope_check CHECK ((scope = ANY (ARRAY['lane'::text, 'feature'::text, 'model'::text]))),
    CONSTRAINT concurrency_slots_check CHECK (((slots >= 0) AND (slots <= 100000)))
);

ALTER TABLE ONLY headrace.concurrency FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.billing_daily (
    tenant_id uuid NOT NULL,
    day date NOT NULL,
    calls bigint DEFAULT 0 NOT NULL,
    input_tokens bigint DEFAULT 0 NOT NULL,
    output_tokens bigint DEFAULT 0 NOT NULL,
    platform_usd numeric DEFAULT 0 NOT NULL,
    exported_at timestamp with time zone,
    revenue_usd numeric,
    billed_micro_usd bigint,
    CONSTRAINT billing_daily_billed_micro_usd_check CHECK (((billed_micro_usd >= 0) AND (billed_micro_usd <= '999999999999999'::bigint))),
    CONSTRAINT billing_daily_closed_whole CHECK ((num_nulls(exported_at, revenue_usd, billed_micro_usd) = ANY (ARRAY[0, 3])))
)
WITH (fillfactor='70');

ALTER TABLE ONLY headrace.billing_daily FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.model_prices (
    id bigint NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    effective_from timestamp with time zone NOT NULL,
    input_usd numeric NOT NULL,
    cached_input_usd numeric,
    cache_write_usd numeric,
    output_usd numeric NOT NULL,
    long_from integer,
    long_input_usd numeric,
    long_cached_input_usd numeric,
    long_cache_write_usd numeric,
    long_output_usd numeric,
    batch_discount numeric DEFAULT 0 NOT NULL,
    source text NOT NULL,
    source_hash text NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    CONSTRAINT model_prices_batch_discount_check CHECK (((batch_discount >= (0)::numeric) AND (batch_discount < (1)::numeric))),
    CONSTRAINT model_prices_cache_write_usd_check CHECK ((cache_write_usd >= (0)::numeric)),
    CONSTRAINT model_prices_cached_input_usd_check CHECK ((cached_input_usd >= (0)::numeric)),
    CONSTRAINT model_prices_check CHECK (((long_from IS NULL) OR ((long_input_usd IS NOT NULL) AND (long_output_usd IS NOT NULL)))),
    CONSTRAINT model_prices_input_usd_check CHECK ((input_usd >= (0)::numeric)),
    CONSTRAINT model_prices_long_cache_write_usd_check CHECK ((long_cache_write_usd >= (0)::numeric)),
    CONSTRAINT model_prices_long_cached_input_usd_check CHECK ((long_cached_input_usd >= (0)::numeric)),
    CONSTRAINT model_prices_long_from_check CHECK ((long_from > 0)),
    CONSTRAINT model_prices_long_input_usd_check CHECK ((long_input_usd >= (0)::numeric)),
    CONSTRAINT model_prices_long_output_usd_check CHECK ((long_output_usd >= (0)::numeric)),
    CONSTRAINT model_prices_output_usd_check CHECK ((output_usd >= (0)::numeric))
);

CREATE TABLE headrace.queue (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    lane text NOT NULL,
    user_id text NOT NULL,
    feature text NOT NULL,
    state text NOT NULL,
    reason text,
    rank bigint,
    estimated_tokens bigint NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    deaths integer DEFAULT 0 NOT NULL,
    overdue integer DEFAULT 0 NOT NULL,
    run_at timestamp with time zone,
    deadline timestamp with time zone,
    claim_id uuid,
    worker_id uuid,
    claimed_at timestamp with time zone,
    claim_deadline timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    waits_for text,
    need_usd numeric,
    admitted boolean DEFAULT false NOT NULL,
    held_since timestamp with time zone,
    output_fault text,
    CONSTRAINT queue_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT queue_check CHECK (((state = 'running'::text) = (claim_id IS NOT NULL))),
    CONSTRAINT queue_check1 CHECK ((((claim_id IS NULL) = (worker_id IS NULL)) AND ((claim_id IS NULL) = (claim_deadline IS NULL)))),
    CONSTRAINT queue_check2 CHECK (((state = 'scheduled'::text) = (run_at IS NOT NULL))),
    CONSTRAINT queue_check3 CHECK (((state = 'scheduled'::text) OR (rank IS NOT NULL))),
    CONSTRAINT queue_check4 CHECK (((state <> 'scheduled'::text) OR (reason IS NOT NULL))),
    CONSTRAINT queue_check5 CHECK (((need_usd IS NULL) OR (waits_for IS NOT NULL))),
    CONSTRAINT queue_deaths_check CHECK ((deaths >= 0)),
    CONSTRAINT queue_estimated_tokens_check CHECK ((estimated_tokens >= 1)),
    CONSTRAINT queue_need_usd_check CHECK ((need_usd >= (0)::numeric)),
    CONSTRAINT queue_overdue_check CHECK ((overdue >= 0)),
    CONSTRAINT queue_rank_check CHECK ((rank >= 0)),
    CONSTRAINT queue_state_check CHECK ((state = ANY (ARRAY['scheduled'::text, 'queued'::text, 'running'::text]))),
    CONSTRAINT queue_waits_for_check CHECK ((waits_for ~ '^((cap|room|rate):(tenant|user|feature|feature_user)|slot:model):'::text))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');

ALTER TABLE ONLY headrace.queue FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.features (
    name text NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    paused_at timestamp with time zone,
    retired_at timestamp with time zone,
    user_per_minute integer,
    max_input_chars integer,
    CONSTRAINT features_max_input_chars_check CHECK ((max_input_chars >= 1)),
    CONSTRAINT features_name_check CHECK ((name ~ '^[a-z][a-z0-9_]{0,60}$'::text)),
    CONSTRAINT features_user_per_minute_check CHECK ((user_per_minute >= 1))
);

CREATE TABLE headrace.set_aside (
    tenant_id uuid NOT NULL,
    chore text NOT NULL,
    job_id uuid,
    error text NOT NULL,
    times integer DEFAULT 1 NOT NULL,
    first_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    until timestamp with time zone NOT NULL,
    CONSTRAINT set_aside_error_check CHECK ((length(error) <= 1000)),
    CONSTRAINT set_aside_times_check CHECK ((times >= 1))
)
WITH (fillfactor='70');

ALTER TABLE ONLY headrace.set_aside FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.lanes (
    name text NOT NULL,
    weight integer NOT NULL,
    paused_at timestamp with time zone,
    retired_at timestamp with time zone,
    CONSTRAINT lanes_name_check CHECK ((name ~ '^[a-z][a-z0-9_]{0,30}$'::text)),
    CONSTRAINT lanes_weight_check CHECK ((weight >= 1))
);

CREATE TABLE headrace.prompt_pointers (
    tenant_id uuid,
    name text NOT NULL,
    prompt_id uuid NOT NULL,
    moved_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    to_default boolean DEFAULT false NOT NULL,
    prompt_of_whom uuid GENERATED ALWAYS AS (
CASE
    WHEN (to_default OR (tenant_id IS NULL)) THEN '00000000-0000-0000-0000-000000000000'::uuid
    ELSE tenant_id
END) STORED,
    file_hash bytea,
    CONSTRAINT prompt_pointers_check CHECK (((NOT to_default) OR (tenant_id IS NOT NULL)))
);

ALTER TABLE ONLY headrace.prompt_pointers FORCE ROW LEVEL SECURITY;

COMMENT ON COLUMN headrace.prompt_pointers.file_hash IS 'content_hash of what the file said at the last migrate; null: a tenant''s own';

CREATE TABLE headrace.plans (
    name text NOT NULL,
    weight numeric NOT NULL,
    daily_cost_cap_usd numeric NOT NULL,
    user_share numeric NOT NULL,
    tenant_per_minute integer,
    user_per_minute integer DEFAULT 60,
    CONSTRAINT plans_daily_cost_cap_usd_check CHECK ((daily_cost_cap_usd >= (0)::numeric)),
    CONSTRAINT plans_name_check CHECK ((name ~ '^[a-z][a-z0-9_]{0,30}$'::text)),
    CONSTRAINT plans_tenant_per_minute_check CHECK ((tenant_per_minute >= 1)),
    CONSTRAINT plans_user_per_minute_check CHECK ((user_per_minute >= 1)),
    CONSTRAINT plans_user_share_check CHECK (((user_share > (0)::numeric) AND (user_share <= (1)::numeric))),
    CONSTRAINT plans_weight_check CHECK ((weight > (0)::numeric))
);

CREATE TABLE headrace.rates (
    tenant_id uuid NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    per_minute integer NOT NULL,
    CONSTRAINT rates_check CHECK (((scope <> 'tenant'::text) OR (key = ''::text))),
    CONSTRAINT rates_check1 CHECK (((scope <> ALL (ARRAY['feature'::text, 'feature_user'::text])) OR (key <> ''::text))),
    CONSTRAINT rates_per_minute_check CHECK ((per_minute >= 1)),
    CONSTRAINT rates_scope_check CHECK ((scope = ANY (ARRAY['tenant'::text, 'user'::text, 'feature'::text, 'feature_user'::text])))
);

ALTER TABLE ONLY headrace.rates FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.tenants (
    id uuid NOT NULL,
    external_id text,
    name text NOT NULL,
    shares_name boolean DEFAULT false NOT NULL,
    plan text DEFAULT 'free'::text NOT NULL,
    daily_cost_cap_usd numeric,
    weight numeric,
    stripe_customer_id text,
    paused_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    CONSTRAINT tenants_daily_cost_cap_usd_check CHECK ((daily_cost_cap_usd >= (0)::numeric)),
    CONSTRAINT tenants_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 200))),
    CONSTRAINT tenants_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT tenants_stripe_customer_id_check CHECK (((length(stripe_customer_id) >= 1) AND (length(stripe_customer_id) <= 200))),
    CONSTRAINT tenants_weight_check CHECK ((weight > (0)::numeric))
);

ALTER TABLE ONLY headrace.tenants FORCE ROW LEVEL SECURITY;

COMMENT ON COLUMN headrace.tenants.shares_name IS 'it may have the name of another tenant';

CREATE TABLE headrace.tenant_prices (
    tenant_id uuid NOT NULL,
    effective_from date NOT NULL,
    cost_factor numeric DEFAULT 0 NOT NULL,
    per_call_usd numeric DEFAULT 0 NOT NULL,
    input_mtok_usd numeric DEFAULT 0 NOT NULL,
    output_mtok_usd numeric DEFAULT 0 NOT NULL,
    CONSTRAINT tenant_prices_cost_factor_check CHECK ((cost_factor >= (0)::numeric)),
    CONSTRAINT tenant_prices_input_mtok_usd_check CHECK ((input_mtok_usd >= (0)::numeric)),
    CONSTRAINT tenant_prices_output_mtok_usd_check CHECK ((output_mtok_usd >= (0)::numeric)),
    CONSTRAINT tenant_prices_per_call_usd_check CHECK ((per_call_usd >= (0)::numeric))
);

ALTER TABLE ONLY headrace.tenant_prices FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.spend_buckets (
    tenant_id uuid NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    hour timestamp with time zone NOT NULL,
    spent_usd numeric NOT NULL
)
WITH (fillfactor='70');

ALTER TABLE ONLY headrace.spend_buckets FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.audit (
    id bigint NOT NULL,
    tenant_id uuid,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    before jsonb,
    after jsonb,
    at timestamp with time zone DEFAULT headrace.now() NOT NULL
);

ALTER TABLE ONLY headrace.audit FORCE ROW LEVEL SECURITY;

ALTER TABLE headrace.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headrace.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headrace.caps (
    tenant_id uuid NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    limit_usd numeric,
    hour timestamp with time zone NOT NULL,
    spent_usd numeric DEFAULT 0 NOT NULL,
    reserved_usd numeric DEFAULT 0 NOT NULL,
    warned_at timestamp with time zone,
    CONSTRAINT caps_check CHECK (((scope <> 'tenant'::text) OR (key = ''::text))),
    CONSTRAINT caps_limit_usd_check CHECK ((limit_usd >= (0)::numeric)),
    CONSTRAINT caps_reserved_usd_check CHECK ((reserved_usd >= (0)::numeric)),
    CONSTRAINT caps_scope_check CHECK ((scope = ANY (ARRAY['tenant'::text, 'user'::text, 'feature'::text])))
)
WITH (fillfactor='50');

ALTER TABLE ONLY headrace.caps FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.caps_guard_0 (
    never_filled boolean,
    CONSTRAINT caps_guard_0_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_1 (
    never_filled boolean,
    CONSTRAINT caps_guard_1_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_2 (
    never_filled boolean,
    CONSTRAINT caps_guard_2_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_3 (
    never_filled boolean,
    CONSTRAINT caps_guard_3_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_4 (
    never_filled boolean,
    CONSTRAINT caps_guard_4_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_5 (
    never_filled boolean,
    CONSTRAINT caps_guard_5_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_6 (
    never_filled boolean,
    CONSTRAINT caps_guard_6_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_7 (
    never_filled boolean,
    CONSTRAINT caps_guard_7_check CHECK (false)
);

CREATE TABLE headrace.caps_guard_models (
    never_filled boolean,
    CONSTRAINT caps_guard_models_check CHECK (false)
);

CREATE TABLE headrace.chore_locks (
    name text NOT NULL
);

CREATE TABLE headrace.chores (
    name text NOT NULL,
    every_s double precision NOT NULL,
    failures bigint DEFAULT 0 NOT NULL,
    failed_at timestamp with time zone,
    last_error text,
    done_at timestamp with time zone,
    CONSTRAINT chores_every_s_check CHECK ((every_s > (0)::double precision)),
    CONSTRAINT chores_failures_check CHECK ((failures >= 0)),
    CONSTRAINT chores_last_error_check CHECK ((length(last_error) <= 1000)),
    CONSTRAINT chores_name_check CHECK (((length(name) >= 1) AND (length(name) <= 60)))
)
WITH (fillfactor='50');

CREATE TABLE headrace.chunks (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    document text NOT NULL,
    ordinal integer NOT NULL,
    content text NOT NULL,
    model text NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    embedding headrace.vector NOT NULL,
    CONSTRAINT chunks_ordinal_check CHECK ((ordinal >= 0))
);

ALTER TABLE ONLY headrace.chunks FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.deployment (
    only_one boolean DEFAULT true NOT NULL,
    pseudonym_key bytea NOT NULL,
    CONSTRAINT deployment_only_one_check CHECK (only_one),
    CONSTRAINT deployment_pseudonym_key_check CHECK ((octet_length(pseudonym_key) >= 32))
);

CREATE TABLE headrace.idempotency (
    tenant_id uuid NOT NULL,
    key text NOT NULL,
    job_id uuid NOT NULL,
    body_hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    CONSTRAINT idempotency_key_check CHECK (((length(key) >= 1) AND (length(key) <= 200)))
);

ALTER TABLE ONLY headrace.idempotency FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.job_events (
    id bigint NOT NULL,
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    event text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    at timestamp with time zone DEFAULT headrace.now() NOT NULL
);

ALTER TABLE ONLY headrace.job_events FORCE ROW LEVEL SECURITY;

ALTER TABLE headrace.job_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headrace.job_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW headrace.job_status WITH (security_invoker='true') AS
 SELECT j.id,
    j.tenant_id,
    j.user_id,
    j.feature,
    j.lane,
    COALESCE(j.outcome, q.state) AS state,
    COALESCE(j.reason, q.reason) AS reason,
        CASE
            WHEN (j.outcome IS NULL) THEN q.attempts
            ELSE j.attempts
        END AS attempts,
    q.run_at,
    j.deadline,
    j.created_at,
    j.ended_at
   FROM (headrace.jobs j
     LEFT JOIN headrace.queue q ON (((q.id = j.id) AND (q.tenant_id = j.tenant_id))));

CREATE TABLE headrace.jobs_default (
    id uuid CONSTRAINT jobs_id_not_null NOT NULL,
    tenant_id uuid CONSTRAINT jobs_tenant_id_not_null NOT NULL,
    user_id text CONSTRAINT jobs_user_id_not_null NOT NULL,
    feature text CONSTRAINT jobs_feature_not_null NOT NULL,
    lane text CONSTRAINT jobs_lane_not_null NOT NULL,
    prompt text,
    variables jsonb,
    messages jsonb,
    context jsonb,
    output_schema jsonb,
    max_output_tokens integer,
    estimated_tokens bigint CONSTRAINT jobs_estimated_tokens_not_null NOT NULL,
    run_at timestamp with time zone,
    deadline timestamp with time zone,
    on_over_budget text DEFAULT 'fail'::text CONSTRAINT jobs_on_over_budget_not_null NOT NULL,
    on_unknown text DEFAULT 'retry'::text CONSTRAINT jobs_on_unknown_not_null NOT NULL,
    force_tier text,
    metadata jsonb DEFAULT '{}'::jsonb CONSTRAINT jobs_metadata_not_null NOT NULL,
    idempotency_key text,
    created_at timestamp with time zone DEFAULT headrace.now() CONSTRAINT jobs_created_at_not_null NOT NULL,
    outcome text,
    reason text,
    error jsonb,
    attempts integer DEFAULT 0 CONSTRAINT jobs_attempts_not_null NOT NULL,
    first_claimed_at timestamp with time zone,
    ended_at timestamp with time zone,
    ended_claim uuid,
    asked_again_as uuid,
    repeats uuid,
    CONSTRAINT jobs_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT jobs_check CHECK ((num_nonnulls(prompt, messages) = 1)),
    CONSTRAINT jobs_check1 CHECK (((outcome IS NULL) = (ended_at IS NULL))),
    CONSTRAINT jobs_check2 CHECK ((((outcome = ANY (ARRAY['failed'::text, 'rejected'::text])) IS NOT TRUE) OR (reason IS NOT NULL))),
    CONSTRAINT jobs_estimated_tokens_check CHECK ((estimated_tokens >= 1)),
    CONSTRAINT jobs_force_tier_check CHECK ((force_tier = ANY (ARRAY['cheap'::text, 'strong'::text]))),
    CONSTRAINT jobs_max_output_tokens_check CHECK (((max_output_tokens >= 1) AND (max_output_tokens <= 200000))),
    CONSTRAINT jobs_metadata_check CHECK ((jsonb_typeof(metadata) = 'object'::text)),
    CONSTRAINT jobs_on_over_budget_check CHECK ((on_over_budget = ANY (ARRAY['fail'::text, 'wait'::text]))),
    CONSTRAINT jobs_on_unknown_check CHECK ((on_unknown = ANY (ARRAY['retry'::text, 'fail'::text]))),
    CONSTRAINT jobs_outcome_check CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'failed'::text, 'rejected'::text, 'cancelled'::text, 'expired'::text]))),
    CONSTRAINT jobs_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 200)))
)
WITH (fillfactor='85');

ALTER TABLE ONLY headrace.jobs_default FORCE ROW LEVEL SECURITY;

ALTER TABLE headrace.model_prices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headrace.model_prices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headrace.outbox (
    id bigint NOT NULL,
    tenant_id uuid NOT NULL,
    topic text NOT NULL,
    payload jsonb NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone,
    unsure_since timestamp with time zone,
    last_error text,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    sent_at timestamp with time zone,
    CONSTRAINT outbox_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT outbox_last_error_check CHECK ((length(last_error) <= 1000))
);

ALTER TABLE ONLY headrace.outbox FORCE ROW LEVEL SECURITY;

ALTER TABLE headrace.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headrace.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headrace.producer_bindings (
    login text NOT NULL,
    tenant_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    CONSTRAINT producer_bindings_login_check CHECK ((login <> ''::text))
);

ALTER TABLE ONLY headrace.producer_bindings FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.prompt_history (
    id bigint NOT NULL,
    tenant_id uuid,
    name text NOT NULL,
    from_prompt_id uuid,
    to_prompt_id uuid NOT NULL,
    actor text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    at timestamp with time zone DEFAULT headrace.now() NOT NULL
);

ALTER TABLE ONLY headrace.prompt_history FORCE ROW LEVEL SECURITY;

ALTER TABLE headrace.prompt_history ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headrace.prompt_history_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headrace.prompts (
    id uuid NOT NULL,
    tenant_id uuid,
    name text NOT NULL,
    version integer NOT NULL,
    description text DEFAULT ''::text NOT NULL,
    body text NOT NULL,
    variables jsonb DEFAULT '{}'::jsonb NOT NULL,
    output_schema jsonb,
    max_output_tokens integer NOT NULL,
    min_output_tokens integer,
    content_hash bytea NOT NULL,
    created_by text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    of_whom uuid GENERATED ALWAYS AS (COALESCE(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid)) STORED,
    CONSTRAINT prompts_body_check CHECK (((octet_length(body) >= 1) AND (octet_length(body) <= 200000))),
    CONSTRAINT prompts_check CHECK (((min_output_tokens >= 1) AND (min_output_tokens <= max_output_tokens))),
    CONSTRAINT prompts_max_output_tokens_check CHECK (((max_output_tokens >= 1) AND (max_output_tokens <= 200000))),
    CONSTRAINT prompts_name_check CHECK ((name ~ '^[a-z][a-z0-9_]{0,60}$'::text)),
    CONSTRAINT prompts_output_schema_check CHECK ((jsonb_typeof(output_schema) = 'object'::text)),
    CONSTRAINT prompts_variables_check CHECK ((jsonb_typeof(variables) = 'object'::text)),
    CONSTRAINT prompts_version_check CHECK ((version >= 1))
);

ALTER TABLE ONLY headrace.prompts FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.provider_keys (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    provider text NOT NULL,
    ciphertext bytea NOT NULL,
    wrapped_key bytea NOT NULL,
    master_key_id text NOT NULL,
    last_four text NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT provider_keys_last_four_check CHECK ((length(last_four) <= 4))
);

ALTER TABLE ONLY headrace.provider_keys FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.reservations (
    claim_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    user_id text NOT NULL,
    feature text NOT NULL,
    amount_usd numeric NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    CONSTRAINT reservations_amount_usd_check CHECK ((amount_usd >= (0)::numeric))
)
WITH (fillfactor='70');

ALTER TABLE ONLY headrace.reservations FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.results (
    job_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    output text NOT NULL,
    output_json jsonb,
    finish text NOT NULL,
    max_output_tokens integer NOT NULL,
    simulated boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    CONSTRAINT results_finish_check CHECK ((finish = ANY (ARRAY['complete'::text, 'length'::text, 'refusal'::text])))
);

ALTER TABLE ONLY headrace.results FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.runs (
    id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    job_id uuid NOT NULL,
    claim_id uuid NOT NULL,
    attempt integer NOT NULL,
    user_id text NOT NULL,
    feature text NOT NULL,
    prompt_id uuid,
    kind text NOT NULL,
    tier text,
    route_rule text NOT NULL,
    fallback boolean DEFAULT false NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    answered_model text,
    price_id bigint NOT NULL,
    processing text DEFAULT 'standard'::text NOT NULL,
    service_tier text,
    priced_as text,
    key_owner text DEFAULT 'platform'::text NOT NULL,
    max_output_tokens integer NOT NULL,
    input_tokens integer,
    cached_input_tokens integer,
    cache_write_tokens integer,
    output_tokens integer,
    reasoning_tokens integer,
    reserved_usd numeric NOT NULL,
    cost_usd numeric,
    over_reserved_usd numeric DEFAULT 0 NOT NULL,
    status text DEFAULT 'started'::text NOT NULL,
    error_code text,
    http_status integer,
    provider_request_id text,
    latency_ms integer,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    settled_at timestamp with time zone,
    repriced_at timestamp with time zone,
    CONSTRAINT runs_attempt_check CHECK ((attempt >= 1)),
    CONSTRAINT runs_cache_write_tokens_check CHECK ((cache_write_tokens >= 0)),
    CONSTRAINT runs_cached_input_tokens_check CHECK ((cached_input_tokens >= 0)),
    CONSTRAINT runs_check CHECK (((status = 'started'::text) = (settled_at IS NULL))),
    CONSTRAINT runs_check1 CHECK (((status = 'started'::text) = (cost_usd IS NULL))),
    CONSTRAINT runs_check2 CHECK (((cached_input_tokens + cache_write_tokens) <= input_tokens)),
    CONSTRAINT runs_cost_usd_check CHECK ((cost_usd >= (0)::numeric)),
    CONSTRAINT runs_input_tokens_check CHECK ((input_tokens >= 0)),
    CONSTRAINT runs_key_owner_check CHECK ((key_owner = ANY (ARRAY['platform'::text, 'tenant'::text]))),
    CONSTRAINT runs_kind_check CHECK ((kind = ANY (ARRAY['answer'::text, 'classify'::text, 'judge'::text, 'embed'::text]))),
    CONSTRAINT runs_latency_ms_check CHECK ((latency_ms >= 0)),
    CONSTRAINT runs_max_output_tokens_check CHECK ((max_output_tokens >= 0)),
    CONSTRAINT runs_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT runs_over_reserved_usd_check CHECK ((over_reserved_usd >= (0)::numeric)),
    CONSTRAINT runs_priced_as CHECK ((priced_as = ANY (ARRAY['batch'::text, 'reserved'::text]))),
    CONSTRAINT runs_processing_check CHECK ((processing = ANY (ARRAY['standard'::text, 'batch'::text]))),
    CONSTRAINT runs_reasoning_tokens_check CHECK ((reasoning_tokens >= 0)),
    CONSTRAINT runs_reserved_usd_check CHECK ((reserved_usd >= (0)::numeric)),
    CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['started'::text, 'succeeded'::text, 'failed'::text, 'unknown'::text])))
)
PARTITION BY RANGE (id);

ALTER TABLE ONLY headrace.runs FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.runs_default (
    id uuid CONSTRAINT runs_id_not_null NOT NULL,
    tenant_id uuid CONSTRAINT runs_tenant_id_not_null NOT NULL,
    job_id uuid CONSTRAINT runs_job_id_not_null NOT NULL,
    claim_id uuid CONSTRAINT runs_claim_id_not_null NOT NULL,
    attempt integer CONSTRAINT runs_attempt_not_null NOT NULL,
    user_id text CONSTRAINT runs_user_id_not_null NOT NULL,
    feature text CONSTRAINT runs_feature_not_null NOT NULL,
    prompt_id uuid,
    kind text CONSTRAINT runs_kind_not_null NOT NULL,
    tier text,
    route_rule text CONSTRAINT runs_route_rule_not_null NOT NULL,
    fallback boolean DEFAULT false CONSTRAINT runs_fallback_not_null NOT NULL,
    provider text CONSTRAINT runs_provider_not_null NOT NULL,
    model text CONSTRAINT runs_model_not_null NOT NULL,
    answered_model text,
    price_id bigint CONSTRAINT runs_price_id_not_null NOT NULL,
    processing text DEFAULT 'standard'::text CONSTRAINT runs_processing_not_null NOT NULL,
    service_tier text,
    priced_as text,
    key_owner text DEFAULT 'platform'::text CONSTRAINT runs_key_owner_not_null NOT NULL,
    max_output_tokens integer CONSTRAINT runs_max_output_tokens_not_null NOT NULL,
    input_tokens integer,
    cached_input_tokens integer,
    cache_write_tokens integer,
    output_tokens integer,
    reasoning_tokens integer,
    reserved_usd numeric CONSTRAINT runs_reserved_usd_not_null NOT NULL,
    cost_usd numeric,
    over_reserved_usd numeric DEFAULT 0 CONSTRAINT runs_over_reserved_usd_not_null NOT NULL,
    status text DEFAULT 'started'::text CONSTRAINT runs_status_not_null NOT NULL,
    error_code text,
    http_status integer,
    provider_request_id text,
    latency_ms integer,
    created_at timestamp with time zone DEFAULT headrace.now() CONSTRAINT runs_created_at_not_null NOT NULL,
    settled_at timestamp with time zone,
    repriced_at timestamp with time zone,
    CONSTRAINT runs_attempt_check CHECK ((attempt >= 1)),
    CONSTRAINT runs_cache_write_tokens_check CHECK ((cache_write_tokens >= 0)),
    CONSTRAINT runs_cached_input_tokens_check CHECK ((cached_input_tokens >= 0)),
    CONSTRAINT runs_check CHECK (((status = 'started'::text) = (settled_at IS NULL))),
    CONSTRAINT runs_check1 CHECK (((status = 'started'::text) = (cost_usd IS NULL))),
    CONSTRAINT runs_check2 CHECK (((cached_input_tokens + cache_write_tokens) <= input_tokens)),
    CONSTRAINT runs_cost_usd_check CHECK ((cost_usd >= (0)::numeric)),
    CONSTRAINT runs_input_tokens_check CHECK ((input_tokens >= 0)),
    CONSTRAINT runs_key_owner_check CHECK ((key_owner = ANY (ARRAY['platform'::text, 'tenant'::text]))),
    CONSTRAINT runs_kind_check CHECK ((kind = ANY (ARRAY['answer'::text, 'classify'::text, 'judge'::text, 'embed'::text]))),
    CONSTRAINT runs_latency_ms_check CHECK ((latency_ms >= 0)),
    CONSTRAINT runs_max_output_tokens_check CHECK ((max_output_tokens >= 0)),
    CONSTRAINT runs_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT runs_over_reserved_usd_check CHECK ((over_reserved_usd >= (0)::numeric)),
    CONSTRAINT runs_priced_as CHECK ((priced_as = ANY (ARRAY['batch'::text, 'reserved'::text]))),
    CONSTRAINT runs_processing_check CHECK ((processing = ANY (ARRAY['standard'::text, 'batch'::text]))),
    CONSTRAINT runs_reasoning_tokens_check CHECK ((reasoning_tokens >= 0)),
    CONSTRAINT runs_reserved_usd_check CHECK ((reserved_usd >= (0)::numeric)),
    CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['started'::text, 'succeeded'::text, 'failed'::text, 'unknown'::text])))
)
WITH (fillfactor='50');

ALTER TABLE ONLY headrace.runs_default FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.schedulers (
    id uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    stopped_at timestamp with time zone,
    woken_by text NOT NULL,
    CONSTRAINT schedulers_host_check CHECK ((length(host) <= 300)),
    CONSTRAINT schedulers_woken_by_check CHECK ((length(woken_by) <= 60))
)
WITH (fillfactor='70');

CREATE TABLE headrace.schema_migrations (
    name text NOT NULL,
    hash text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE headrace.slot_shares (
    cap_key text NOT NULL,
    of_tenant uuid NOT NULL,
    tag numeric DEFAULT 0 NOT NULL,
    waiting boolean DEFAULT true NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE headrace.slots (
    cap_key text NOT NULL,
    n integer NOT NULL,
    claim_id uuid,
    of_tenant uuid,
    retired boolean DEFAULT false NOT NULL,
    lent boolean DEFAULT false NOT NULL,
    promised_to uuid,
    promised_tenant uuid,
    promised_at timestamp with time zone,
    CONSTRAINT slots_check CHECK (((NOT retired) OR (claim_id IS NOT NULL))),
    CONSTRAINT slots_check1 CHECK ((num_nulls(promised_to, promised_tenant, promised_at) = ANY (ARRAY[0, 3]))),
    CONSTRAINT slots_check2 CHECK (((promised_to IS NULL) OR (claim_id IS NULL))),
    CONSTRAINT slots_holder_has_a_tenant CHECK (((claim_id IS NULL) = (of_tenant IS NULL))),
    CONSTRAINT slots_n_check CHECK ((n >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500', autovacuum_vacuum_cost_delay='0');

CREATE TABLE headrace.spend_daily (
    day date NOT NULL,
    tenant_id uuid NOT NULL,
    user_id text NOT NULL,
    feature text NOT NULL,
    prompt_id uuid,
    provider text NOT NULL,
    model text NOT NULL,
    key_owner text NOT NULL,
    calls bigint NOT NULL,
    failed_calls bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cached_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_usd numeric NOT NULL,
    reserved_usd numeric DEFAULT 0 NOT NULL,
    over_calls bigint DEFAULT 0 NOT NULL,
    over_reserved_usd numeric DEFAULT 0 NOT NULL
)
WITH (fillfactor='70');

ALTER TABLE ONLY headrace.spend_daily FORCE ROW LEVEL SECURITY;

CREATE TABLE headrace.wake_signals (
    one boolean DEFAULT true NOT NULL,
    wanted_until timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    paused_until timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    CONSTRAINT wake_signals_one_check CHECK (one)
)
WITH (fillfactor='50');

CREATE TABLE headrace.wakes (
    id bigint NOT NULL,
    tenant_id uuid NOT NULL,
    lane text NOT NULL,
    created_at timestamp with time zone DEFAULT headrace.now() NOT NULL
);

ALTER TABLE ONLY headrace.wakes FORCE ROW LEVEL SECURITY;

ALTER TABLE headrace.wakes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME headrace.wakes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE headrace.workers (
    id uuid NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    threads integer NOT NULL,
    started_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT headrace.now() NOT NULL,
    draining_at timestamp with time zone,
    stopped_at timestamp with time zone,
    providers jsonb,
    CONSTRAINT workers_providers_check CHECK ((octet_length((providers)::text) <= 4000)),
    CONSTRAINT workers_threads_check CHECK ((threads >= 1))
);

ALTER TABLE ONLY headrace.jobs ATTACH PARTITION headrace.jobs_default DEFAULT;

ALTER TABLE ONLY headrace.runs ATTACH PARTITION headrace.runs_default DEFAULT;

ALTER TABLE ONLY headrace.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headrace.billing_daily
    ADD CONSTRAINT billing_daily_pkey PRIMARY KEY (tenant_id, day);

ALTER TABLE ONLY headrace.caps
    ADD CONSTRAINT caps_pkey PRIMARY KEY (tenant_id, scope, key);

ALTER TABLE ONLY headrace.chore_locks
    ADD CONSTRAINT chore_locks_pkey PRIMARY KEY (name);

ALTER TABLE ONLY headrace.chores
    ADD CONSTRAINT chores_pkey PRIMARY KEY (name);

ALTER TABLE ONLY headrace.chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.chunks
    ADD CONSTRAINT chunks_tenant_id_document_ordinal_model_key UNIQUE (tenant_id, document, ordinal, model);

ALTER TABLE ONLY headrace.concurrency
    ADD CONSTRAINT concurrency_tenant_id_scope_key_key UNIQUE NULLS NOT DISTINCT (tenant_id, scope, key);

ALTER TABLE ONLY headrace.deployment
    ADD CONSTRAINT deployment_pkey PRIMARY KEY (only_one);

ALTER TABLE ONLY headrace.features
    ADD CONSTRAINT features_pkey PRIMARY KEY (name);

ALTER TABLE ONLY headrace.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (tenant_id, key);

ALTER TABLE ONLY headrace.job_events
    ADD CONSTRAINT job_events_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.jobs_default
    ADD CONSTRAINT jobs_default_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (name);

ALTER TABLE ONLY headrace.model_prices
    ADD CONSTRAINT model_prices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headrace.model_prices
    ADD CONSTRAINT model_prices_provider_model_effective_from_key UNIQUE (provider, model, effective_from);

ALTER TABLE ONLY headrace.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (name);

ALTER TABLE ONLY headrace.producer_bindings
    ADD CONSTRAINT producer_bindings_pkey PRIMARY KEY (login, tenant_id);

ALTER TABLE ONLY headrace.prompt_history
    ADD CONSTRAINT prompt_history_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headrace.prompt_pointers
    ADD CONSTRAINT prompt_pointers_tenant_id_name_key UNIQUE NULLS NOT DISTINCT (tenant_id, name);

ALTER TABLE ONLY headrace.prompts
    ADD CONSTRAINT prompts_id_of_whom_key UNIQUE (id, of_whom);

ALTER TABLE ONLY headrace.prompts
    ADD CONSTRAINT prompts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headrace.prompts
    ADD CONSTRAINT prompts_tenant_id_name_version_key UNIQUE NULLS NOT DISTINCT (tenant_id, name, version);

ALTER TABLE ONLY headrace.provider_keys
    ADD CONSTRAINT provider_keys_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.rates
    ADD CONSTRAINT rates_pkey PRIMARY KEY (tenant_id, scope, key);

ALTER TABLE ONLY headrace.reservations
    ADD CONSTRAINT reservations_pkey PRIMARY KEY (claim_id, tenant_id);

ALTER TABLE ONLY headrace.results
    ADD CONSTRAINT results_pkey PRIMARY KEY (job_id, tenant_id);

ALTER TABLE ONLY headrace.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.runs_default
    ADD CONSTRAINT runs_default_pkey PRIMARY KEY (id, tenant_id);

ALTER TABLE ONLY headrace.schedulers
    ADD CONSTRAINT schedulers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headrace.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);

ALTER TABLE ONLY headrace.set_aside
    ADD CONSTRAINT set_aside_tenant_id_chore_job_id_key UNIQUE NULLS NOT DISTINCT (tenant_id, chore, job_id);

ALTER TABLE ONLY headrace.slot_shares
    ADD CONSTRAINT slot_shares_pkey PRIMARY KEY (cap_key, of_tenant);

ALTER TABLE ONLY headrace.slots
    ADD CONSTRAINT slots_pkey PRIMARY KEY (cap_key, n);

ALTER TABLE ONLY headrace.spend_buckets
    ADD CONSTRAINT spend_buckets_pkey PRIMARY KEY (tenant_id, scope, key, hour);

ALTER TABLE ONLY headrace.spend_daily
    ADD CONSTRAINT spend_daily_tenant_id_day_user_id_feature_prompt_id_provide_key UNIQUE NULLS NOT DISTINCT (tenant_id, day, user_id, feature, prompt_id, provider, model, key_owner);

ALTER TABLE ONLY headrace.tenant_prices
    ADD CONSTRAINT tenant_prices_pkey PRIMARY KEY (tenant_id, effective_from);

ALTER TABLE ONLY headrace.tenants
    ADD CONSTRAINT tenants_external_id_key UNIQUE (external_id);

ALTER TABLE ONLY headrace.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headrace.tenants
    ADD CONSTRAINT tenants_stripe_customer_id_key UNIQUE (stripe_customer_id);

ALTER TABLE ONLY headrace.wake_signals
    ADD CONSTRAINT wake_signals_pkey PRIMARY KEY (one);

ALTER TABLE ONLY headrace.wakes
    ADD CONSTRAINT wakes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY headrace.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX audit_by_tenant ON headrace.audit USING btree (tenant_id, id DESC);

CREATE INDEX billing_open ON headrace.billing_daily USING btree (tenant_id, day) WHERE (exported_at IS NULL);

CREATE INDEX idempotency_age ON headrace.idempotency USING btree (created_at);

CREATE INDEX job_events_by_job ON headrace.job_events USING btree (job_id, id);

CREATE INDEX jobs_by_tenant ON ONLY headrace.jobs USING btree (tenant_id, id DESC);

CREATE INDEX jobs_dead_letters ON ONLY headrace.jobs USING btree (tenant_id, id DESC) WHERE (outcome = 'failed'::text);

CREATE UNIQUE INDEX jobs_one_tenant ON ONLY headrace.jobs USING btree (id);

CREATE UNIQUE INDEX jobs_default_id_idx ON headrace.jobs_default USING btree (id);

CREATE INDEX jobs_default_tenant_id_id_idx ON headrace.jobs_default USING btree (tenant_id, id DESC);

CREATE INDEX jobs_default_tenant_id_id_idx1 ON headrace.jobs_default USING btree (tenant_id, id DESC) WHERE (outcome = 'failed'::text);

CREATE INDEX outbox_done ON headrace.outbox USING btree (created_at) WHERE ((sent_at IS NOT NULL) OR (topic <> 'stripe.meter_event'::text));

CREATE UNIQUE INDEX outbox_one_event ON headrace.outbox USING btree (tenant_id, ((payload ->> 'identifier'::text))) WHERE (topic = 'stripe.meter_event'::text);

CREATE INDEX outbox_unsent ON headrace.outbox USING btree (topic, COALESCE(next_try_at, created_at), id) WHERE (sent_at IS NULL);

CREATE INDEX prompt_history_by_name ON headrace.prompt_history USING btree (tenant_id, name, id DESC);

CREATE UNIQUE INDEX provider_keys_one_active ON headrace.provider_keys USING btree (tenant_id, provider) WHERE (revoked_at IS NULL);

CREATE INDEX queue_by_feature ON headrace.queue USING btree (tenant_id, lane, feature, rank, id) WHERE (state = 'queued'::text);

CREATE INDEX queue_by_worker ON headrace.queue USING btree (worker_id) WHERE (state = 'running'::text);

CREATE INDEX queue_due ON headrace.queue USING btree (run_at) WHERE ((state = 'scheduled'::text) AND (waits_for IS NULL));

CREATE INDEX queue_due_of_tenant ON headrace.queue USING btree (tenant_id, run_at) WHERE ((state = 'scheduled'::text) AND (waits_for IS NULL));

CREATE INDEX queue_expiring ON headrace.queue USING btree (deadline) WHERE ((deadline IS NOT NULL) AND (state <> 'running'::text));

CREATE INDEX queue_expiring_of_tenant ON headrace.queue USING btree (tenant_id, deadline) WHERE ((deadline IS NOT NULL) AND (state <> 'running'::text));

CREATE INDEX queue_let_in ON headrace.queue USING btree (tenant_id, waits_for) INCLUDE (need_usd) WHERE ((waits_for IS NOT NULL) AND (state <> 'scheduled'::text));

CREATE INDEX queue_next ON headrace.queue USING btree (tenant_id, lane, rank, id) WHERE (state = 'queued'::text);

CREATE INDEX queue_of_user ON headrace.queue USING btree (tenant_id, lane, user_id, rank);

CREATE INDEX queue_overdue ON headrace.queue USING btree (claim_deadline) WHERE (state = 'running'::text);

CREATE INDEX queue_running ON headrace.queue USING btree (tenant_id, lane, rank) WHERE (state = 'running'::text);

CREATE INDEX queue_waiting ON headrace.queue USING btree (tenant_id, waits_for, lane, rank, id) WHERE (waits_for IS NOT NULL);

CREATE INDEX queue_waiting_need ON headrace.queue USING btree (tenant_id, waits_for, need_usd) WHERE (need_usd IS NOT NULL);

CREATE INDEX runs_by_job ON ONLY headrace.runs USING btree (job_id);

CREATE INDEX runs_by_tenant ON ONLY headrace.runs USING btree (tenant_id, created_at DESC);

CREATE INDEX runs_by_user ON ONLY headrace.runs USING btree (tenant_id, user_id, created_at DESC);

CREATE INDEX runs_default_job_id_idx ON headrace.runs_default USING btree (job_id);

CREATE INDEX runs_default_tenant_id_created_at_idx ON headrace.runs_default USING btree (tenant_id, created_at DESC);

CREATE INDEX runs_default_tenant_id_user_id_created_at_idx ON headrace.runs_default USING btree (tenant_id, user_id, created_at DESC);

CREATE INDEX slot_shares_waiting ON headrace.slot_shares USING btree (cap_key, tag, of_tenant) WHERE waiting;

CREATE INDEX slots_by_claim ON headrace.slots USING btree (claim_id) WHERE (claim_id IS NOT NULL);

CREATE INDEX slots_free ON headrace.slots USING btree (cap_key, n) WHERE (claim_id IS NULL);

CREATE INDEX slots_retired ON headrace.slots USING btree (cap_key, n) WHERE retired;

CREATE INDEX spend_buckets_age ON headrace.spend_buckets USING btree (hour);

CREATE INDEX spend_daily_by_day ON headrace.spend_daily USING btree (day);

CREATE UNIQUE INDEX tenants_one_name ON headrace.tenants USING btree (name) WHERE (NOT shares_name);

CREATE INDEX wakes_of_tenant ON headrace.wakes USING btree (tenant_id, id);

CREATE INDEX workers_alive ON headrace.workers USING btree (heartbeat_at) WHERE (stopped_at IS NULL);

ALTER INDEX headrace.jobs_one_tenant ATTACH PARTITION headrace.jobs_default_id_idx;

ALTER INDEX headrace.jobs_pkey ATTACH PARTITION headrace.jobs_default_pkey;

ALTER INDEX headrace.jobs_by_tenant ATTACH PARTITION headrace.jobs_default_tenant_id_id_idx;

ALTER INDEX headrace.jobs_dead_letters ATTACH PARTITION headrace.jobs_default_tenant_id_id_idx1;

ALTER INDEX headrace.runs_by_job ATTACH PARTITION headrace.runs_default_job_id_idx;

ALTER INDEX headrace.runs_pkey ATTACH PARTITION headrace.runs_default_pkey;

ALTER INDEX headrace.runs_by_tenant ATTACH PARTITION headrace.runs_default_tenant_id_created_at_idx;

ALTER INDEX headrace.runs_by_user ATTACH PARTITION headrace.runs_default_tenant_id_user_id_created_at_idx;

ALTER TABLE ONLY headrace.chunks
    ADD CONSTRAINT chunks_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES headrace.tenants(id);

ALTER TABLE headrace.jobs
    ADD CONSTRAINT jobs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES headrace.tenants(id);

ALTER TABLE ONLY headrace.producer_bindings
    ADD CONSTRAINT producer_bindings_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES headrace.tenants(id);

ALTER TABLE ONLY headrace.prompt_pointers
    ADD CONSTRAINT prompt_pointers_prompt_fkey FOREIGN KEY (prompt_id, prompt_of_whom) REFERENCES headrace.prompts(id, of_whom);

ALTER TABLE ONLY headrace.prompt_pointers
    ADD CONSTRAINT prompt_pointers_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES headrace.tenants(id);

ALTER TABLE ONLY headrace.prompts
    ADD CONSTRAINT prompts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES headrace.tenants(id);

ALTER TABLE ONLY headrace.provider_keys
    ADD CONSTRAINT provider_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES headrace.tenants(id);

ALTER TABLE ONLY headrace.tenants
    ADD CONSTRAINT tenants_plan_fkey FOREIGN KEY (plan) REFERENCES headrace.plans(name);

ALTER TABLE headrace.audit ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.billing_daily ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.caps ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.chunks ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.concurrency ENABLE ROW LEVEL SECURITY;

CREATE POLICY exported_stays ON headrace.billing_daily AS RESTRICTIVE FOR UPDATE USING ((exported_at IS NULL)) WITH CHECK (true);

ALTER TABLE headrace.idempotency ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.job_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.jobs ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.jobs_default ENABLE ROW LEVEL SECURITY;

CREATE POLICY operators ON headrace.audit TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.billing_daily TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.caps TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.chunks TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.concurrency TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.idempotency TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.job_events TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.jobs TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.outbox TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.producer_bindings TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.prompt_history TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.prompt_pointers TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.prompts TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.provider_keys TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.queue TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.rates TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.reservations TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.results TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.runs TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.set_aside TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.spend_buckets TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.spend_daily TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.tenant_prices TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.tenants TO headrace_ops USING (true) WITH CHECK (true);

CREATE POLICY operators ON headrace.wakes TO headrace_ops USING (true) WITH CHECK (true);

ALTER TABLE headrace.outbox ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_login ON headrace.producer_bindings FOR SELECT TO headrace_owner USING ((login = SESSION_USER));

ALTER TABLE headrace.producer_bindings ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.prompt_history ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.prompt_pointers ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.prompts ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.provider_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.queue ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.rates ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.reservations ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.results ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.runs ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.runs_default ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.set_aside ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.spend_buckets ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.spend_daily ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant_bound ON headrace.audit TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.billing_daily TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.caps TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.chunks TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.concurrency TO headrace_owner, headrace_app USING (((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)) OR ((tenant_id IS NULL) AND (( SELECT headrace.current_tenant() AS current_tenant) IS NOT NULL)))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.idempotency TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.job_events TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.jobs TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.outbox TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.producer_bindings TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.prompt_history TO headrace_owner, headrace_app USING (((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)) OR ((tenant_id IS NULL) AND (( SELECT headrace.current_tenant() AS current_tenant) IS NOT NULL)))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.prompt_pointers TO headrace_owner, headrace_app USING (((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)) OR ((tenant_id IS NULL) AND (( SELECT headrace.current_tenant() AS current_tenant) IS NOT NULL)))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.prompts TO headrace_owner, headrace_app USING (((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)) OR ((tenant_id IS NULL) AND (( SELECT headrace.current_tenant() AS current_tenant) IS NOT NULL)))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.provider_keys TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.queue TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.rates TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.reservations TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.results TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.runs TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.set_aside TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.spend_buckets TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.spend_daily TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.tenant_prices TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.tenants TO headrace_owner, headrace_app USING ((id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((id = ( SELECT headrace.current_tenant() AS current_tenant)));

CREATE POLICY tenant_bound ON headrace.wakes TO headrace_owner, headrace_app USING ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT headrace.current_tenant() AS current_tenant)));

ALTER TABLE headrace.tenant_prices ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE headrace.wakes ENABLE ROW LEVEL SECURITY;

GRANT USAGE ON SCHEMA headrace TO headrace_app;
GRANT USAGE ON SCHEMA headrace TO headrace_ops;
GRANT USAGE ON SCHEMA headrace TO headrace_producer;

GRANT ALL ON FUNCTION headrace.now() TO headrace_app;

GRANT SELECT ON TABLE headrace.jobs TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.jobs TO headrace_ops;

GRANT SELECT ON TABLE headrace.job_request TO headrace_ops;

GRANT ALL ON FUNCTION headrace.begin(p_tenant uuid, p_job uuid, p_claim uuid, p_run uuid, p_kind text, p_provider text, p_model text, p_tier text, p_route_rule text, p_fallback boolean, p_input_bound bigint, p_max_output integer, p_min_output integer, p_prompt uuid, p_key_owner text, p_later jsonb, p_processing text, OUT verdict text, OUT reserved_usd numeric, OUT max_output_tokens integer, OUT cap_scope text, OUT cap_key text, OUT limit_usd numeric, OUT spent_usd numeric, OUT others_reserved_usd numeric, OUT room_at timestamp with time zone, OUT remaining_s double precision) TO headrace_app;

GRANT ALL ON FUNCTION headrace.cancel(p_tenant uuid, p_job uuid, p_by text) TO headrace_app;

GRANT SELECT ON TABLE headrace.concurrency TO headrace_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.concurrency TO headrace_ops;

GRANT ALL ON FUNCTION headrace.claim(p_tenant uuid, p_lane text, p_claim uuid, p_worker uuid, p_timeout_s double precision, p_w integer, p_repeat boolean) TO headrace_app;

GRANT SELECT ON TABLE headrace.billing_daily TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.billing_daily TO headrace_ops;

GRANT SELECT ON TABLE headrace.model_prices TO headrace_app;
GRANT SELECT,INSERT ON TABLE headrace.model_prices TO headrace_ops;

GRANT ALL ON FUNCTION headrace.current_tenant() TO headrace_app;

GRANT SELECT ON TABLE headrace.queue TO headrace_app;
GRANT SELECT,INSERT,DELETE,MAINTAIN,UPDATE ON TABLE headrace.queue TO headrace_ops;

GRANT ALL ON FUNCTION headrace.enqueue(tenant_id uuid, user_id text, feature text, prompt text, variables jsonb, messages jsonb, context jsonb, output_schema jsonb, max_output_tokens integer, lane text, idempotency_key text, run_at timestamp with time zone, deadline timestamp with time zone, on_over_budget text, on_unknown text, force_tier text, metadata jsonb, id uuid, estimated_tokens bigint) TO headrace_producer;
GRANT ALL ON FUNCTION headrace.enqueue(tenant_id uuid, user_id text, feature text, prompt text, variables jsonb, messages jsonb, context jsonb, output_schema jsonb, max_output_tokens integer, lane text, idempotency_key text, run_at timestamp with time zone, deadline timestamp with time zone, on_over_budget text, on_unknown text, force_tier text, metadata jsonb, id uuid, estimated_tokens bigint) TO headrace_app;

GRANT ALL ON FUNCTION headrace.enqueue_batch(p_tenant uuid, p_jobs jsonb, p_wake boolean) TO headrace_app;

GRANT ALL ON FUNCTION headrace.enqueue_many(tenant_id uuid, requests jsonb) TO headrace_producer;
GRANT ALL ON FUNCTION headrace.enqueue_many(tenant_id uuid, requests jsonb) TO headrace_app;

GRANT ALL ON FUNCTION headrace.group_commit(p_steps jsonb, p_wait boolean) TO headrace_app;

GRANT ALL ON FUNCTION headrace.group_commit_of_tenant(p_tenant uuid, p_steps jsonb) TO headrace_app;

GRANT SELECT ON TABLE headrace.features TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.features TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.set_aside TO headrace_ops;

GRANT SELECT ON TABLE headrace.lanes TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.lanes TO headrace_ops;

GRANT SELECT ON TABLE headrace.prompt_pointers TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.prompt_pointers TO headrace_ops;

GRANT ALL ON FUNCTION headrace.quote(p_tenant uuid, p_job uuid, p_user text, p_feature text, p_lane text, p_rank bigint, p_calls jsonb) TO headrace_app;

GRANT ALL ON FUNCTION headrace.quote_many(p_tenant uuid, p_jobs jsonb) TO headrace_app;

GRANT ALL ON FUNCTION headrace.quote_requests(p_tenant uuid, p_requests jsonb) TO headrace_app;

GRANT SELECT ON TABLE headrace.plans TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.plans TO headrace_ops;

GRANT SELECT ON TABLE headrace.rates TO headrace_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.rates TO headrace_ops;

GRANT SELECT ON TABLE headrace.tenants TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.tenants TO headrace_ops;

GRANT ALL ON FUNCTION headrace.result(tenant_id uuid, job_id uuid) TO headrace_producer;
GRANT ALL ON FUNCTION headrace.result(tenant_id uuid, job_id uuid) TO headrace_app;

GRANT SELECT ON TABLE headrace.tenant_prices TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.tenant_prices TO headrace_ops;

GRANT SELECT ON TABLE headrace.spend_buckets TO headrace_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.spend_buckets TO headrace_ops;

GRANT ALL ON FUNCTION headrace.settle(p_tenant uuid, p_job uuid, p_claim uuid, p_run jsonb, p_verdict text, p_outcome jsonb, OUT settled text, OUT offers jsonb) TO headrace_app;

GRANT ALL ON FUNCTION headrace.time_of(id uuid) TO headrace_app;

GRANT SELECT ON TABLE headrace.audit TO headrace_app;
GRANT SELECT,INSERT ON TABLE headrace.audit TO headrace_ops;

GRANT SELECT ON TABLE headrace.caps TO headrace_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.caps TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_0 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_1 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_2 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_3 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_4 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_5 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_6 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_7 TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.caps_guard_models TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.chore_locks TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.chores TO headrace_ops;

GRANT SELECT ON TABLE headrace.chunks TO headrace_app;
GRANT SELECT ON TABLE headrace.chunks TO headrace_ops;

GRANT SELECT ON TABLE headrace.deployment TO headrace_app;
GRANT SELECT ON TABLE headrace.deployment TO headrace_ops;

GRANT SELECT ON TABLE headrace.idempotency TO headrace_app;
GRANT SELECT,INSERT,DELETE ON TABLE headrace.idempotency TO headrace_ops;

GRANT SELECT ON TABLE headrace.job_events TO headrace_app;
GRANT SELECT,INSERT,DELETE ON TABLE headrace.job_events TO headrace_ops;

GRANT SELECT ON TABLE headrace.job_status TO headrace_app;
GRANT SELECT ON TABLE headrace.job_status TO headrace_ops;

GRANT SELECT ON TABLE headrace.jobs_default TO headrace_ops;

GRANT SELECT ON TABLE headrace.outbox TO headrace_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.outbox TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.producer_bindings TO headrace_ops;

GRANT SELECT ON TABLE headrace.prompt_history TO headrace_app;
GRANT SELECT,INSERT ON TABLE headrace.prompt_history TO headrace_ops;

GRANT SELECT ON TABLE headrace.prompts TO headrace_app;
GRANT SELECT,INSERT ON TABLE headrace.prompts TO headrace_ops;

GRANT SELECT ON TABLE headrace.provider_keys TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.provider_keys TO headrace_ops;

GRANT SELECT ON TABLE headrace.reservations TO headrace_app;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.reservations TO headrace_ops;

GRANT SELECT ON TABLE headrace.results TO headrace_app;
GRANT SELECT,INSERT ON TABLE headrace.results TO headrace_ops;

GRANT SELECT ON TABLE headrace.runs TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.runs TO headrace_ops;

GRANT SELECT ON TABLE headrace.runs_default TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.schedulers TO headrace_ops;

GRANT SELECT ON TABLE headrace.schema_migrations TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.slot_shares TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.slots TO headrace_ops;

GRANT SELECT ON TABLE headrace.spend_daily TO headrace_app;
GRANT SELECT,INSERT,UPDATE ON TABLE headrace.spend_daily TO headrace_ops;

GRANT SELECT,UPDATE ON TABLE headrace.wake_signals TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.wakes TO headrace_ops;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE headrace.workers TO headrace_ops;
