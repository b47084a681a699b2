"""What one tenant's job carries, or its provider says, is that step's own affair: its neighbours have their answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from errors import ProviderRefusedError
from producers import Client
from queues.turns import Turn, Wire
from router.breakers import Breakers
from router.gateway import Gateway
from router.policy import load_policy
from router.providers.calls import CallReply, CallRequest, Usage
from router.pseudonyms import Pseudonyms
from storage.db.database import Database
from storage.db.ids import new_id
from storage.db.reading import LAST
from storage.jobs import jobs, why
from storage.jobs.jobs import ClaimedJob, State
from storage.jobs.selection import Selection
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Urls, eventually
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)
from workers.backoff import Backoff
from workers.group_commit import GroupCommit
from workers.pipeline import Pipeline
from workers.turn_account import TurnAccount

BILLIONS = 3_000_000_000


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def reply(text: str = "fine", usage: Usage | None = None, **facts: Any) -> CallReply:
    return CallReply(
        **{
            "text": text,
            "usage": usage or Usage(10, 0, 0, 5, 0),
            "model": "m",
            "provider_request_id": "r",
            "finish": "complete",
        }
        | facts
    )


def raises(error: Exception) -> Callable[[], CallReply]:
    def step() -> CallReply:
        raise error

    return step


def refused(**details: Any) -> Callable[[], CallReply]:
    return raises(ProviderRefusedError("no", provider="openai", http_status=400, **details))


# what the provider says → the state, the reason, and whether the call's true price is known
SAID: dict[str, tuple[Callable[[], CallReply], str, str | None, bool]] = {
    "more cached than given": (lambda: reply(usage=Usage(10, BILLIONS, 7, 5, 0)), "succeeded", None, True),
    "billions": (lambda: reply(usage=Usage(BILLIONS, 0, 0, BILLIONS, BILLIONS)), "succeeded", None, False),
    "less than nothing": (lambda: reply(usage=Usage(-5, -5, -5, -5, -5)), "succeeded", None, True),
    "a long request id": (lambda: reply(provider_request_id="x" * 100_000), "succeeded", None, True),
    "an ending of its own": (lambda: reply(finish="who knows"), "failed", "result_not_storable", True),
    "a deep error": (refused(told=nested(5000)), "failed", "result_not_storable", True),
    "a long number": (refused(told=10**5000), "failed", "result_not_storable", True),
    "no JSON": (refused(told=object()), "failed", "result_not_storable", True),
    "a panic": (raises(BaseException("a library that is not written in Python")), "scheduled", "internal_fault", False),  # type: ignore[arg-type]
}

# columns of a row that no door would let in → the field that is named
STORED: dict[str, tuple[str, str | None]] = {
    """metadata = '{"n": 1e5000}'""": ("rejected", "metadata"),
    """context = '{"n": -1e131071}'""": ("rejected", "context"),
    """context = (repeat('[', 600) || repeat(']', 600))::jsonb""": ("rejected", "context"),
    """context = (repeat('[', 70) || repeat(']', 70))::jsonb""": ("rejected", "context"),
    """messages = (repeat('[', 5000) || repeat(']', 5000))::jsonb""": ("rejected", "messages"),
    """messages = '{"role": "user"}'""": ("rejected", "messages"),
    """messages = '[["user", "Hi"]]'""": ("rejected", "messages"),
    """output_schema = '[true]'""": ("rejected", "output_schema"),
    """run_at = 'infinity'""": ("succeeded", None),
    """deadline = 'infinity', created_at = '-infinity'""": ("succeeded", None),
    """deadline = '200000-01-01', created_at = '4000-01-01 BC'""": ("succeeded", None),
}


@dataclass
class ByText:
    """A provider that says what the text of the message asks for."""

    name: str
    asked: list[str] = field(default_factory=list)

    def call(self, request: CallRequest) -> CallReply:
        text = request.messages[-1].content
        self.asked.append(text)
        return SAID[text][0]() if text in SAID else reply(f"to {text}")


@dataclass
class Shared:
    """A pipeline whose tenants share one connection and one line."""

    pipeline: Pipeline
    client: Client
    ops: Database
    a: UUID
    b: UUID
    providers: tuple[ByText, ByText]

    def ask(self, tenant: UUID, text: str, **fields: Any) -> UUID:
        messages = [{"role": "user", "content": text}]
        return self.client.enqueue(
            tenant_id=tenant, user_id="u", feature="chat", messages=messages, max_output_tokens=100, **fields
        )

    def take_all(self) -> None:
        """Take a turn for each job, all at the same time."""
        turns = self.rows("select tenant_id from headrace.queue where state = 'queued' order by id")
        with ThreadPoolExecutor(len(turns)) as threads:
            list(threads.map(lambda one: self.pipeline.run(Turn(str(one["tenant_id"]), "interactive", 1.0)), turns))

    def rows(self, query: str, *facts: Any) -> list[dict[str, Any]]:
        with self.ops.connection() as connection:
            return connection.execute(query, facts).fetchall()  # type: ignore[arg-type]

    def check_b(self, jobs: dict[UUID, str]) -> None:
        """Each job of B was claimed once, called once, answered and paid at its true price."""
        for job_id, text in jobs.items():
            result = self.client.result(job_id, tenant_id=self.b)
            assert (result.state, result.output, result.attempts) == (State.SUCCEEDED, f"to {text}", 1)
        runs = self.rows("select status, input_tokens, output_tokens from headrace.runs where tenant_id = %s", self.b)
        assert runs == [{"status": "succeeded", "input_tokens": 10, "output_tokens": 5}] * len(jobs)
        assert self.rows("select from headrace.queue where tenant_id = %s or state = 'running'", self.b) == []


@pytest.fixture
def shared(urls: Urls, ops: Database, client: Client, wiped_wire: Wire) -> Iterator[Shared]:
    providers = (ByText("openai"), ByText("anthropic"))
    with Database(urls.app, connections=1) as database:
        pipeline = Pipeline(
            worker_id=new_id(),
            database=database,
            turns=TurnAccount(wiped_wire, turns_per_tenant=64),
            gateway=Gateway({one.name: one for one in providers}, Breakers(fail_max=1000, reset_s=60)),
            policy=load_policy(None),
            pseudonyms=Pseudonyms(b"of a test"),
            backoff=Backoff(max_attempts=2, base_s=0.01),
            call_timeout_s=5.0,
            claim_timeout_s=300.0,
            draining=threading.Event(),
        )
        cap = Decimal(1_000_000)
        a, b = (new_tenant(ops, name, daily_cap_usd=cap) for name in "AB")
        yield Shared(pipeline, client, ops, a, b, providers)
    check_books(ops, None, all_ended=False)


def test_whatever_a_provider_says_the_call_is_settled_once_and_no_neighbour_notices(
    shared: Shared, subtests: pytest.Subtests
) -> None:
    of_a = {text: shared.ask(shared.a, text) for text in SAID}
    of_b = {shared.ask(shared.b, f"b{n}"): f"b{n}" for n in range(len(SAID))}
    shared.take_all()
    shared.check_b(of_b)
    for text, job_id in of_a.items():
        _, state, reason, known = SAID[text]
        with subtests.test(said=text):
            result = shared.client.result(job_id, tenant_id=shared.a)
            assert (result.state, result.reason, result.attempts) == (state, reason, 1)
            runs = shared.rows("select * from headrace.runs where job_id = %s", job_id)
            assert {one["status"] == "unknown" for one in runs} == {not known}
            if state == "failed":
                assert result.error is not None and result.error["code"] == reason
    (odd,) = shared.rows("select * from headrace.runs where job_id = %s", of_a["an ending of its own"])
    assert (odd["status"], odd["input_tokens"], odd["output_tokens"]) == ("succeeded", 10, 5), (
        "its true usage is booked"
    )
    (most,) = shared.rows("select * from headrace.runs where job_id = %s", of_a["more cached than given"])
    assert (most["input_tokens"], most["cached_input_tokens"], most["cache_write_tokens"]) == (10, 10, 0)


def test_a_job_that_cannot_be_read_is_rejected_at_once_and_no_neighbour_notices(
    shared: Shared, subtests: pytest.Subtests
) -> None:
    of_a = {change: shared.ask(shared.a, "poison") for change in STORED}
    with shared.ops.connection() as connection:
        for change, job_id in of_a.items():
            connection.execute(f"update headrace.jobs set {change} where id = %s", [job_id])  # type: ignore[arg-type]
    of_b = {shared.ask(shared.b, f"b{n}"): f"b{n}" for n in range(len(STORED))}
    shared.take_all()
    shared.check_b(of_b)
    for change, job_id in of_a.items():
        with subtests.test(stored=change):
            state, named = STORED[change]
            result = shared.client.result(job_id, tenant_id=shared.a)
            assert (result.state, result.attempts) == (state, 1)
            if named is not None:
                assert result.error is not None
                assert (result.reason, result.error["field"], result.cost_usd) == ("invalid_input", named, 0)
    asked = [text for one in shared.providers for text in one.asked if text == "poison"]
    assert len(asked) == sum(state == "succeeded" for state, _ in STORED.values())


def test_a_claim_that_cannot_be_read_costs_its_neighbours_not_even_a_second_try(
    app: Database, ops: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction claims for both; only the step that could not be read is done again."""
    neighbour = new_tenant(ops, "B")
    with app.connection() as connection:
        poison, fine = enqueue_job(connection, tenant), enqueue_job(connection, neighbour)
    with ops.connection() as connection:
        connection.execute("""update headrace.jobs set metadata = '{"n": 1e5000}' where id = %s""", [poison])
    alone_again: list[tuple[UUID, bool]] = []
    alone = GroupCommit._run_alone

    def watched(commits: GroupCommit, steps: Any) -> None:
        alone_again.extend((one.tenant_id, one.tried) for one in steps)
        alone(commits, steps)

    monkeypatch.setattr(GroupCommit, "_run_alone", watched)
    with Database(app.url, connections=1) as database, ThreadPoolExecutor(3) as threads:
        commits = GroupCommit(database)

        def claim(whose: UUID) -> Any:
            return commits.claim(
                whose, "interactive", claim_id=new_id(), worker_id=new_id(), timeout_s=60, turns_per_tenant=64
            )

        with database.connection():  # the first waits for it, and the others meet in line behind
            first = threads.submit(claim, new_id())
            eventually(lambda: 0 in commits._lines, why="it leads")
            both = [threads.submit(claim, whose) for whose in (tenant, neighbour)]
            eventually(lambda: len(commits._lines[0]) == 2, why="they are in line")
        assert first.result() is None
        unread, read = (one.result() for one in both)
    assert isinstance(unread, ClaimedJob)
    assert isinstance(read, ClaimedJob)
    assert (unread.job_id, dict(unread.unreadable)) == (poison, {"metadata": "holds a number that is too large"})
    assert (read.job_id, dict(read.unreadable)) == (fine, {})
    assert alone_again == [(tenant, True)]


def test_what_was_stored_is_told_as_far_as_it_can_be_read(client: Client, app: Database, ops: Database) -> None:
    tenant = new_tenant(ops, "A")
    with app.connection() as connection:
        job_id, claim_id, planned = enqueue_job(connection, tenant), new_id(), planned_call()
        assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id()) is not None
        begin_call(connection, tenant, job_id, claim_id, planned)
        settle_job(
            connection,
            tenant,
            job_id,
            claim_id,
            answered_run(planned.run_id),
            "ended",
            **succeeded_outcome(planned.run_id),
        )
    with ops.connection() as connection:
        connection.execute("""update headrace.jobs set error = '{"n": 1e5000}', deadline = 'infinity'""")
        connection.execute(
            """insert into headrace.job_events (tenant_id, job_id, event, detail, at)
            values (%s, %s, 'odd', (repeat('[', 900) || repeat(']', 900))::jsonb, 'infinity')""",
            [tenant, job_id],
        )
        (listed,) = jobs.list_jobs(connection, Selection(tenant_id=tenant), limit=10)
        history = jobs.history(connection, job_id)
        told = why.explain(connection, job_id, silent_s=10)
    result = client.result(job_id, tenant_id=tenant)
    assert (result.state, result.output, result.error) == (State.SUCCEEDED, "Hi", None)
    assert result.unreadable == {"error": "holds a number that is too large"}
    assert listed["state"] == "succeeded"
    assert told is not None
    assert told.deadline == LAST
    assert {"unreadable": "is nested deeper than 128 levels"} in [one["detail"] for one in history]
