"""The database isolates tenants: what has a tenant is found in the catalogue, so a new table cannot be forgotten."""

from __future__ import annotations

import threading
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from producers import Client
from storage.database import Database
from storage.ids import new_id
from tests.conftest import new_tenant
from tests.fleet import Fleet, Urls

# Tables without a tenant, each with the reason why that is right.
OF_NO_TENANT = {
    "plans": "the platform's own price list of plans",
    "features": "the routing policy",
    "lanes": "the configuration",
    "model_prices": "public prices",
    "workers": "processes, not data",
    "deployment": "the key of pseudonyms: of the whole deployment",
    "chores": "how the schedulers do, not data",
    "slots": "reached only inside functions",
    "chore_locks": "locked, by operators",
    "caps_guard_models": "locked inside functions",
    **{f"caps_guard_{n}": "locked inside functions" for n in range(8)},
    "slot_shares": "reached only inside functions: whoever frees a slot has to find whose turn is next",
    "schema_migrations": "the schema's own history",
    "tenants": "bound by its id, checked below",
}


def _relations(urls: Urls) -> dict[str, bool]:
    """Every table and view of the schema, and whether it has a tenant (partitions belong to their parent)."""
    with psycopg.connect(urls.owner) as connection:
        rows = connection.execute(
            """select c.relname, exists (select from pg_attribute a where a.attrelid = c.oid
                      and a.attname = 'tenant_id' and not a.attisdropped)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = 'headrace' and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition"""
        ).fetchall()
    return dict(rows)


def _fill(client: Client, fleet: Fleet, owner_url: str, tenants: list[UUID]) -> None:
    """Rows of every table for every tenant: by the real road where it leads there, else as the owner's superuser."""
    fleet.simulator()
    fleet.worker()
    for tenant in tenants:
        job_id = client.enqueue(
            tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "Hello there"}],
            idempotency_key="k",
        )  # fmt: skip
        client.result(job_id, tenant_id=tenant, timeout=20)
        client.enqueue(
            tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "Later"}],
            run_at="2099-01-01T00:00:00Z",
        )  # fmt: skip
    with psycopg.connect(owner_url) as connection:
        for tenant in tenants:
            facts = {"t": tenant, "id": new_id()}
            for statement in (
                "insert into headrace.prompts (id, tenant_id, name, version, body, max_output_tokens, content_hash)"
                " values (%(id)s, %(t)s, 'own', 1, '## user' || chr(10) || 'x', 10, '')",
                "insert into headrace.prompt_pointers (tenant_id, name, prompt_id) values (%(t)s, 'own', %(id)s)",
                "insert into headrace.producer_bindings (login, tenant_id) values ('x', %(t)s)",
                "insert into headrace.prompt_history (tenant_id, name, to_prompt_id, actor)"
                " values (%(t)s, 'own', %(id)s, 'x')",
                "insert into headrace.job_events (tenant_id, job_id, event) values (%(t)s, %(id)s, 'x')",
                "insert into headrace.wakes (tenant_id, lane) values (%(t)s, 'batch')",
                "insert into headrace.reservations (claim_id, tenant_id, job_id, user_id, feature, amount_usd)"
                " values (%(id)s, %(t)s, %(id)s, 'u', 'chat', 1)",
                "insert into headrace.outbox (tenant_id, topic, payload) values (%(t)s, 'x', '{}')",
                "insert into headrace.set_aside (tenant_id, chore, job_id, error, until)"
                " values (%(t)s, 'expire', %(id)s, 'x', 'infinity')",
                "insert into headrace.rates (tenant_id, scope, key, per_minute) values (%(t)s, 'user', 'u', 1000)",
                "insert into headrace.concurrency (tenant_id, scope, key, slots) values (%(t)s, 'lane', 'batch', 0)",
                "insert into headrace.tenant_prices (tenant_id, effective_from) values (%(t)s, '2026-01-01')",
                "insert into headrace.audit (tenant_id, actor, action, target) values (%(t)s, 'x', 'x', 'x')",
                "insert into headrace.provider_keys (id, tenant_id, provider, ciphertext, wrapped_key, master_key_id,"
                " last_four) values (%(id)s, %(t)s, 'openai', '', '', 'k', 'abcd')",
                "insert into headrace.chunks (id, tenant_id, document, ordinal, content, model, embedding)"
                " values (%(id)s, %(t)s, 'd', 0, 'c', 'm', '[1,2,3]')",
            ):
                connection.execute(statement, facts)


@pytest.fixture
def two_tenants(client: Client, fleet: Fleet, ops: Database, urls: Urls) -> tuple[UUID, UUID]:
    tenants = (new_tenant(ops, "A"), new_tenant(ops, "B"))
    _fill(client, fleet, urls.owner, list(tenants))
    return tenants


def _visible(urls: Urls, relations: list[str], tenant: UUID | None) -> dict[str, list[UUID | None]]:
    """The tenants of the rows that headrace_app sees in each relation."""
    seen = {}
    with psycopg.connect(urls.app, prepare_threshold=None) as connection:
        for name in relations:
            with connection.transaction():
                if tenant is not None:
                    connection.execute("select set_config('app.tenant_id', %s, true)", [str(tenant)])
                try:
                    with connection.transaction():
                        rows = connection.execute(
                            sql.SQL("select tenant_id from headrace.{}").format(sql.Identifier(name))
                        )
                        seen[name] = [row[0] for row in rows]
                except psycopg.errors.InsufficientPrivilege:
                    seen[name] = []
    return seen


def test_every_relation_is_known(urls: Urls) -> None:
    without = {name for name, has_tenant in _relations(urls).items() if not has_tenant}
    assert without == set(OF_NO_TENANT)


def test_without_a_tenant_no_row_and_as_a_none_of_b(urls: Urls, two_tenants: tuple[UUID, UUID]) -> None:
    a, b = two_tenants
    relations = [name for name, has_tenant in _relations(urls).items() if has_tenant]
    with psycopg.connect(urls.owner) as connection:
        for name in relations:  # the test is worth nothing for a table that is empty
            query = sql.SQL("select count(distinct tenant_id) from headrace.{}").format(sql.Identifier(name))
            (tenants,) = connection.execute(query).fetchone() or (0,)
            assert tenants == 2, f"{name} holds no rows of both tenants: fill it"

    assert {name: rows for name, rows in _visible(urls, relations, None).items() if rows} == {}
    for name, rows in _visible(urls, relations, a).items():
        assert b not in rows, name
        assert set(rows) <= {a, None}, name

    with psycopg.connect(urls.app, prepare_threshold=None) as connection:
        assert connection.execute("select id from headrace.tenants").fetchall() == []
        connection.execute("select set_config('app.tenant_id', %s, true)", [str(a)])
        assert connection.execute("select id from headrace.tenants").fetchall() == [(a,)]


def test_the_application_writes_by_functions_alone(urls: Urls) -> None:
    with psycopg.connect(urls.app) as connection:
        writable = connection.execute(
            """select c.relname from pg_class c where c.relnamespace = 'headrace'::regnamespace
               and has_table_privilege(c.oid, 'insert, update, delete, truncate, references, trigger, maintain')"""
        ).fetchall()
        assert writable == []
        for name in ("slots", "slot_shares"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(sql.SQL("select from headrace.{}").format(sql.Identifier(name)))


@pytest.mark.parametrize("login", ["app", "producer"])
def test_no_lock_that_matters_can_be_taken_by_who_should_not(
    urls: Urls, client: Client, tenant: UUID, login: str
) -> None:
    """All of our tables are shut to it. With every advisory key that was ours, the hot path and the chores go on."""
    with psycopg.connect(urls.owner) as owner, psycopg.connect(getattr(urls, login)) as stranger:
        tables = owner.execute(
            "select relname from pg_class where relnamespace = 'headrace'::regnamespace and relkind in ('r', 'p')"
        ).fetchall()
        assert len(tables) > 20
        for (table,) in tables:
            for mode in ("row share", "row exclusive", "share", "exclusive", "access exclusive"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege), stranger.transaction():
                    stranger.execute(
                        sql.SQL("lock table headrace.{} in {} mode").format(sql.Identifier(table), sql.SQL(mode))
                    )
        for key in (
            "headrace.concurrency:", f"headrace.concurrency:{tenant}", "headrace.sweep", "headrace.release_for_money",
            "headrace.lend_slots", "headrace.ensure_partitions", "headrace.analyze_grown", "headrace.prices",
            "headrace.provision", "headrace.flag_unusual",
        ):  # fmt: skip
            stranger.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [key])
        job_id = client.enqueue(
            tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "Hello"}]
        )
        with psycopg.connect(urls.app, options="-c lock_timeout=5s") as worker:
            claim_id, run_id = new_id(), new_id()
            claimed = worker.execute(
                "select job_id from headrace.claim(%s, 'interactive', %s, %s, 300, 64)", [tenant, claim_id, new_id()]
            ).fetchone()
            begun = worker.execute(
                "select verdict from headrace.begin(%s, %s, %s, %s, 'answer', 'openai', 'gpt-6-luna', 'cheap', 'x',"
                " false, 9, 9)",
                [tenant, job_id, claim_id, run_id],
            ).fetchone()
        assert (claimed, begun) == ((job_id,), ("granted",))
        with psycopg.connect(urls.ops, options="-c lock_timeout=5s") as operator:
            for chore in ("sweep", "release_for_money", "lend_slots", "release_for_rate", "flag_unusual"):
                assert operator.execute("select headrace.hold_chore(%s)", [chore]).fetchone() == (True,)
            operator.execute("select headrace.ensure_partitions()")


def test_a_repeated_claim_waits_for_its_first_try_and_for_no_stranger(urls: Urls, client: Client, tenant: UUID) -> None:
    for _ in range(2):
        client.enqueue(tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "Hello"}])
    claim_id, worker_id = new_id(), new_id()
    again = "select job_id from headrace.claim(%s, 'interactive', %s, %s, 300, 64, %s)"
    with psycopg.connect(urls.app) as first, psycopg.connect(urls.app, options="-c statement_timeout=20s") as second:
        took = first.execute(again, [tenant, claim_id, worker_id, False]).fetchone()
        repeats: list[object] = []
        thread = threading.Thread(
            target=lambda: repeats.append(second.execute(again, [tenant, claim_id, worker_id, True]).fetchone())
        )
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it did not wait"
        first.commit()
        thread.join()
        assert repeats == [took]
        second.commit()
        with psycopg.connect(urls.producer) as stranger:
            stranger.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [str(claim_id)])
            assert second.execute(again, [tenant, claim_id, worker_id, True]).fetchone() == took


def test_a_function_gives_the_caller_s_tenant_back_and_a_tenant_s_transaction_stays_that_tenant(
    urls: Urls, client: Client, ops: Database, tenant: UUID
) -> None:
    other = new_tenant(ops, "other")
    message = [{"role": "user", "content": "Hello"}]
    job_id = client.enqueue(tenant_id=tenant, user_id="u", feature="chat", messages=message)
    calls = {
        "claim": "select headrace.claim(%(t)s, 'batch', gen_random_uuid(), gen_random_uuid(), 300, 64)",
        "cancel": "select headrace.cancel(%(t)s, gen_random_uuid(), 'x')",
        "settle": "select headrace.settle(%(t)s, gen_random_uuid(), gen_random_uuid(), null, 'ended')",
        "enqueue_batch": 'select headrace.enqueue_batch(%(t)s, \'[{"user_id": "u"}]\', true)',
        "keep_books": "select headrace.keep_books(%(t)s, '[]')",
    }
    with psycopg.connect(urls.app) as connection:
        for name, call in calls.items():
            for mine in ("", str(tenant)):
                connection.execute("select set_config('app.tenant_id', %s, true)", [mine])
                connection.execute(call, {"t": tenant})
                assert connection.execute("select current_setting('app.tenant_id')").fetchone() == (mine,), name
        connection.rollback()
        connection.execute("select set_config('app.tenant_id', %s, true)", [str(other)])
        claim = "select count(*) from headrace.claim(%s, 'interactive', gen_random_uuid(), gen_random_uuid(), 300, 64)"
        assert connection.execute(claim, [tenant]).fetchone() == (0,)
        assert connection.execute("select headrace.cancel(%s, %s, 'x')", [tenant, job_id]).fetchone() == (None,)


def test_a_pointer_names_no_other_tenant_s_prompt(urls: Urls, ops: Database, tenant: UUID) -> None:
    other, theirs, default = new_tenant(ops, "other"), new_id(), new_id()
    insert = (
        "insert into headrace.prompts (id, tenant_id, name, version, body, max_output_tokens, content_hash)"
        " values (%s, %s, 'own', 1, 'x', 10, '')"
    )
    point = "insert into headrace.prompt_pointers (tenant_id, name, prompt_id, to_default) values (%s, 'own', %s, %s)"
    with psycopg.connect(urls.ops) as connection:
        connection.execute(insert, [theirs, other])
        connection.execute(insert, [default, None])
        for prompt_id, to_default in ((theirs, False), (theirs, True), (default, False)):
            with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
                connection.execute(point, [tenant, prompt_id, to_default])
        with pytest.raises(psycopg.errors.ForeignKeyViolation), connection.transaction():
            connection.execute(point, [None, theirs, False])
        connection.execute(point, [other, theirs, False])
        connection.execute(point, [tenant, default, True])


def test_row_security_is_forced_on_every_table_with_a_tenant_and_views_ask_as_their_caller(urls: Urls) -> None:
    with psycopg.connect(urls.owner) as connection:
        loose = connection.execute(
            """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = 'headrace' and c.relkind in ('r', 'p')
                 and (c.relname = 'tenants' or exists (select from pg_attribute a
                      where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
                 and not (c.relrowsecurity and c.relforcerowsecurity)"""
        ).fetchall()
        views = connection.execute(
            """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = 'headrace' and c.relkind = 'v'
                 and not coalesce(c.reloptions @> array['security_invoker=true'], false)"""
        ).fetchall()
        roles = connection.execute(
            "select rolname from pg_roles where rolname like 'headrace%' and (rolsuper or rolbypassrls)"
        ).fetchall()
        definers = connection.execute(
            """select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
               where n.nspname = 'headrace' and p.prosecdef
                 and not coalesce(array_to_string(p.proconfig, ',') like '%search_path=pg_catalog, pg_temp%', false)"""
        ).fetchall()
    assert (loose, views, roles, definers) == ([], [], [], [])


def test_dropping_one_policy_shows(urls: Urls, two_tenants: tuple[UUID, UUID]) -> None:
    """The tests above can fail: with one policy made permissive, or gone, what they look at changes."""
    a, b = two_tenants
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("drop policy tenant_bound on headrace.jobs")
        connection.execute("create policy open on headrace.jobs to headrace_app using (true)")
    assert b in _visible(urls, ["jobs"], a)["jobs"]
    assert _visible(urls, ["jobs"], None)["jobs"] != []
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("drop policy open on headrace.jobs")
    assert _visible(urls, ["jobs"], a)["jobs"] == []  # no policy at all: nothing is seen, and every job is stuck
