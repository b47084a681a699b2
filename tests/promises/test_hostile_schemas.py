"""Output schemas stop no other tenant: a real worker, a scheduler that reclaims what stands still, and two
tenants. A's schemas and answers were made to hold the interpreter lock, to double, to fetch; B asks ordinary questions.
"""

from __future__ import annotations

import http.server
import random
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from errors import InvalidSchemaError
from producers import Client
from storage.db.database import Database
from storage.jobs import jobs
from storage.jobs.jobs import State
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.costly_schemas import CATASTROPHIC, doubled
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.requests import enqueue_by_sql
from workers.scheduler import Scheduler

ASKED: dict[str, Any] = {
    "user_id": "u",
    "feature": "chat",
    "messages": [{"role": "user", "content": "How do I change my password?"}],
}
SECRET = "a document inside the network"


def answered(value: Any, **words: Any) -> dict[str, Any]:
    """A schema that makes the simulator answer this value, and holds it against the keywords."""
    return {"type": "object", "properties": {"it": {"const": value, **words}}, "required": ["it"]}


def letters(seed: int) -> str:
    return "".join(random.Random(seed).choices("ab", k=3_000))


LET_IN: list[tuple[dict[str, Any], State, str | None]] = [
    *((answered("a" * 60 + "!", pattern=pattern), State.SCHEDULED, None) for pattern in CATASTROPHIC[:5]),
    (answered([{"a": n} for n in range(3_000)], uniqueItems=True), State.SUCCEEDED, None),
    (
        answered([letters(n) for n in range(60)], contains={"pattern": "[ab]*a[ab]{300}c"}),
        State.FAILED,
        "schema_too_costly",
    ),
]


@pytest.fixture
def inside() -> Iterator[tuple[str, list[str]]]:
    """A server inside the network: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f'{{"const": "{SECRET}"}}'.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def fetching(url: str) -> list[dict[str, Any]]:
    """Every draft with every form of identifier and reference that leads away."""
    drafts = [
        *(f"http://json-schema.org/draft-0{number}/schema#" for number in (3, 4, 6, 7)),
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ]
    away = [
        {"$ref": url},
        {"$ref": "part.json"},
        {"$dynamicRef": url},
        {"$recursiveRef": url},
        {"extends": {"$ref": url}},
        {"id": url, "$ref": "#/x"},
        {"$id": url, "$ref": "part.json"},
        {"$ref": url.replace("http", "file", 1)},
    ]
    forms: list[dict[str, Any]] = [{"$schema": draft} | one for draft in drafts for one in away]
    forms += [{"$schema": draft, "properties": {"it": one}} for draft in drafts for one in away]
    forms += [{"$schema": draft, "unknown": {"id": url}, "$ref": "#/unknown"} for draft in drafts[:2]]
    return [*forms, {"$schema": url}, {"properties": {"it": {"$schema": drafts[0], "id": url}}}]


def test_a_neighbours_jobs_go_on_while_hostile_schemas_are_read_and_answers_checked(
    client: Client,
    ops: Database,
    urls: Urls,
    fleet: Fleet,
    scheduler: Scheduler,
    tenant: UUID,
    inside: tuple[str, list[str]],
) -> None:
    neighbour = new_tenant(ops, "Neighbour")
    fleet.simulator()
    worker = fleet.worker(threads=4, HEADRACE_MAX_ATTEMPTS="1")
    url, fetched = inside
    with psycopg.connect(urls.producer, autocommit=True) as producer:
        refused = [
            enqueue_by_sql(producer, tenant_id=tenant, output_schema=schema, **ASKED)
            for schema in [doubled("allOf"), doubled("anyOf"), *fetching(url)[::5], {"enum": "x" * 300_000}]
        ]
        hostile = [
            enqueue_by_sql(producer, tenant_id=tenant, output_schema=schema, max_output_tokens=150_000, **ASKED)
            for schema, _, _ in LET_IN
        ]
    ordinary = [client.enqueue(tenant_id=neighbour, **ASKED) for _ in range(20)]

    answers = [client.result(job_id, tenant_id=neighbour, timeout=60) for job_id in ordinary]
    assert {(one.state, one.attempts) for one in answers} == {(State.SUCCEEDED, 1)}

    for job_id in refused:
        result = client.result(job_id, tenant_id=tenant, timeout=60)
        # what is not a reference in its draft is a schema like any other
        assert (result.state, result.reason) in (
            (State.REJECTED, "invalid_schema"),
            (State.SUCCEEDED, None),
            (State.FAILED, "output_invalid"),
        )
        assert SECRET not in str(result.error)
    for job_id, (_, state, reason) in zip(hostile, LET_IN, strict=True):
        result = client.result(job_id, tenant_id=tenant, timeout=60)
        if state is not State.SCHEDULED:  # a catastrophic pattern may match: that it ends is what is asked
            assert (result.state, result.reason) == (state, reason), result
        assert result.state in (State.SUCCEEDED, State.FAILED)
        assert result.attempts == 1
    assert fetched == []
    assert worker.poll() is None
    with ops.connection() as connection:
        reclaimed = [
            event
            for job_id in ordinary + hostile
            for event in jobs.history(connection, job_id)
            if event["what"] == "reclaimed"
        ]
    assert reclaimed == []
    eventually(lambda: fleet.log("worker").count("job.settled") >= len(ordinary))
    check_books(ops, fleet.journal())


def test_at_the_door_nothing_is_fetched_either(client: Client, tenant: UUID, inside: tuple[str, list[str]]) -> None:
    url, fetched = inside
    for schema in (*fetching(url), doubled("oneOf")):
        try:
            client.enqueue(tenant_id=tenant, output_schema=schema, **ASKED)
        except InvalidSchemaError as error:
            assert SECRET not in str(error)  # noqa: PT017 (some refer nowhere in their draft and are let in)
    assert fetched == []
