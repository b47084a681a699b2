"""The database isolates tenants: locks, functions and keys. What the catalogue tells is in test_walls.py."""

from __future__ import annotations

import threading
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from tests.conftest import new_tenant
from tests.support.fleet import Urls


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
        "group_commit_of_tenant": "select headrace.group_commit_of_tenant(%(t)s, '[]')",
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
