"""The catalogue of odd answers goes through the pipeline: each is paid once, at its usage; its job ends, or waits when
the answer says that the provider cannot serve now.

Over real HTTP, the real SDKs and the real database. Of the cases that come to the same, one goes all the way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from errors import NotNowError
from producers import Client
from queues.turns import Turn, Wire
from router.breakers import Breakers
from router.gateway import Gateway
from router.policy import load_policy
from router.providers.calls import Provider, Usage
from router.pseudonyms import Pseudonyms
from storage.catalogue import tenants
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs.jobs import State
from tests.router.providers.conftest import Told, build_adapter, told_server
from tests.support.audit import check_books
from tests.support.fleet import Urls
from tests.support.odd_answers import NOTHING, ODD_ANSWERS, Odd
from workers.backoff import Backoff
from workers.pipeline import Pipeline
from workers.turn_account import TurnAccount

CASES = list({(o.provider, o.text, o.error, str(o.usage), o.fault): o for o in ODD_ANSWERS}.values())


@pytest.fixture
def server() -> Iterator[Told]:
    with told_server() as told:
        yield told


def _pipeline(adapter: Provider, database: Database, wire: Wire) -> Pipeline:
    """A worker that knows one provider, whose last answer it has forgotten, and gives a job one attempt."""
    return Pipeline(
        worker_id=new_id(),
        database=database,
        turns=TurnAccount(wire, turns_per_tenant=64),
        gateway=Gateway({adapter.name: adapter}, Breakers(fail_max=1_000, reset_s=60)),
        policy=load_policy(None),
        pseudonyms=Pseudonyms(b"of a test"),
        backoff=Backoff(max_attempts=1, base_s=0.01),
        call_timeout_s=30.0,
        claim_timeout_s=300.0,
        draining=threading.Event(),
    )


def test_every_odd_answer_ends_its_job_at_its_true_cost(
    server: Told, client: Client, ops: Database, urls: Urls, wiped_wire: Wire, subtests: pytest.Subtests
) -> None:
    with ops.connection() as connection:
        tenant = tenants.add(connection, name="Odd", plan="pro", same_name=True, daily_cap_usd=1_000)
    with Database(urls.app, connections=1) as database:
        adapters = {name: build_adapter(name, server.url) for name in ("openai", "anthropic")}
        for odd in CASES:
            server.answer(odd.body)
            job_id = client.enqueue(
                tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "Hi"}]
            )
            _pipeline(adapters[odd.provider], database, wiped_wire).run(Turn(str(tenant), "interactive", 1000.0))
            result = client.result(job_id, tenant_id=tenant)
            with subtests.test(str(odd)):
                if odd.error is not None and issubclass(odd.error, NotNowError):
                    assert (result.state, result.attempts) == (State.SCHEDULED, 0)
                    assert result.reason in ("provider_held", "provider_rate_limited")
                else:
                    expected = State.SUCCEEDED if odd.error is None else State.FAILED
                    assert (result.state, result.reason) == (expected, None if odd.error is None else odd.error.code)
                _check_run(odd, _run_of(ops, job_id))
    assert len(server.requests) == len(CASES)  # asked once each
    check_books(ops, None, all_ended=False)


def _run_of(ops: Database, job_id: UUID) -> dict[str, Any]:
    with ops.connection() as connection:
        (run,) = connection.execute("select * from headrace.runs where job_id = %s", [job_id]).fetchall()
    return run


def _check_run(odd: Odd, run: dict[str, Any]) -> None:
    if odd.usage == NOTHING:
        assert (run["status"], run["cost_usd"]) == ("failed", 0)
    elif odd.usage is None:
        assert (run["status"], run["cost_usd"]) == ("unknown", run["reserved_usd"])
    else:
        assert isinstance(odd.usage, Usage)
        assert run["status"] == ("succeeded" if odd.error is None else "failed")
        assert (run["input_tokens"], run["output_tokens"]) == (odd.usage.input_tokens, odd.usage.output_tokens)
        assert run["cost_usd"] > 0
    assert run["error_code"] == (odd.fault if odd.error is None else odd.error.code)
