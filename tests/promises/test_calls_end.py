"""Every call ends, whatever the provider does: real workers, the simulator's faults, the books against its journal.

The cheap tier asks OpenAI's model first and Anthropic's when that cannot answer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from producers import Client, Result
from storage.catalogue import tenants
from storage.db.database import Database
from storage.jobs import jobs
from storage.jobs.jobs import State
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, eventually
from workers.scheduler import Scheduler

CHAT: dict[str, Any] = {
    "user_id": "u",
    "feature": "chat",
    "messages": [{"role": "user", "content": "How do I change my password?"}],
    "max_output_tokens": 200,
}
NO_BREAKER = {"HEADRACE_BREAKER_FAIL_MAX": "100000"}
SHORT = {
    "HEADRACE_CALL_TIMEOUT_S": "1",
    "HEADRACE_MAX_ATTEMPTS": "2",
    "HEADRACE_BREAKER_RESET_S": "0.2",
    **NO_BREAKER,
}


@dataclass(frozen=True)
class Fault:
    """What a provider does, and what a run of it must say."""

    name: str
    status: str
    error_code: str
    http_status: int | None
    of_the_provider: bool = False  # so that a job waits for its end

    @property
    def behaviour(self) -> dict[str, Any]:
        return {"fault": self.name, **({"retry_after_s": 0.05} if self.name == "429" else {})}


FAULTS = [
    Fault("429", "failed", "provider_rate_limited", 429, of_the_provider=True),
    Fault("500", "failed", "provider_unavailable", 500, of_the_provider=True),
    Fault("529", "failed", "provider_unavailable", None, of_the_provider=True),  # each has a status of its own for it
    Fault("auth", "failed", "provider_auth", 401, of_the_provider=True),
    Fault("cut", "unknown", "provider_answer_lost", None),
    Fault("malformed", "unknown", "provider_malformed_answer", 200),
    Fault("hang", "unknown", "provider_timeout", None),
    Fault("drip", "unknown", "provider_timeout", None),
]


def ask(client: Client, tenant: UUID, **fields: Any) -> Result:
    """Enqueue a job and wait for its end."""
    job_id = client.enqueue(tenant_id=tenant, **{**CHAT, **fields})
    result = client.result(job_id, tenant_id=tenant, timeout=60)
    assert result.state.ended, result
    return result


def last_run(ops: Database) -> dict[str, Any]:
    with ops.connection() as connection:
        return connection.execute("select * from headrace.runs order by id desc limit 1").fetchall()[0]


def runs_of(ops: Database, job_id: UUID) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        return connection.execute("select * from headrace.runs where job_id = %s order by id", [job_id]).fetchall()


def entries(fleet: Fleet, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The journal's entries of these runs, in their order. A call that was given up is noted a moment later."""

    def noted() -> list[dict[str, Any]]:
        known = {call["client_request_id"]: call for call in fleet.journal()}
        found = [known[str(run["id"])] for run in runs if str(run["id"]) in known]
        return found if len(found) == len(runs) else []

    return list(eventually(noted, why="the simulator has noted every call"))


def logged(fleet: Fleet) -> dict[str, list[dict[str, Any]]]:
    """What the worker has logged, by event. Each of its lines is JSON."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in fleet.log("worker").splitlines():
        facts = json.loads(line)
        told[facts["event"]].append(facts)
    return told


def check_fault(run: dict[str, Any], call: dict[str, Any], fault: Fault) -> None:
    """The run says what went wrong as the provider's journal has it, and costs what that means."""
    assert (run["status"], run["error_code"]) == (fault.status, fault.error_code)
    assert (run["provider"], run["model"], call["fault"]) == (call["provider"], call["model"], fault.name)
    if fault.status == "failed":
        assert run["http_status"] == call["status"] >= 400
        assert (run["cost_usd"], call["output_tokens"]) == (0, 0)
    else:
        assert call["status"] == (200 if fault.name == "malformed" else 0)
        assert run["cost_usd"] == run["reserved_usd"] > 0
    if fault.http_status is not None:
        assert run["http_status"] == fault.http_status


def test_each_fault_of_one_provider_ends_in_an_answer_of_the_other(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, subtests: pytest.Subtests
) -> None:
    """A dripping server's bytes never stop coming (its whole answer takes two minutes): the call's total time does."""
    fleet.simulator()
    fleet.worker(**SHORT)
    for fault in FAULTS:
        with subtests.test(fault=fault.name):
            fleet.behave(openai=fault.behaviour)
            result = ask(client, tenant)
            assert (result.state, result.attempts) == (State.SUCCEEDED, 1)
            failed, answered = runs_of(ops, result.job_id)
            call, good = entries(fleet, [failed, answered])
            check_fault(failed, call, fault)
            assert (answered["provider"], answered["fallback"], failed["fallback"]) == ("anthropic", True, False)
            fleet.behave(openai={"fault": "none"})
            eventually(lambda: ask(client, tenant) and not last_run(ops)["fallback"], why="the primary is back")
            assert (answered["status"], good["status"]) == ("succeeded", 200)
            assert (answered["input_tokens"], answered["output_tokens"]) == (
                good["input_tokens"],
                good["output_tokens"],
            )
            assert result.cost_usd == failed["cost_usd"] + answered["cost_usd"]
    check_books(ops, fleet.journal())
    told = logged(fleet)
    assert {line["code"] for line in told["call.failed"]} == {fault.error_code for fault in FAULTS}
    assert {(line["provider"], line["http_status"]) for line in told["call.failed"]} >= {
        ("openai", 401),
        ("openai", 429),
    }
    assert {(line["provider"], line["instead_of"].partition(":")[0]) for line in told["call.fallback"]} == {
        ("anthropic", "openai")
    }
    assert {(line["provider"], line["code"]) for line in told["breaker.opened"]} == {("openai", "provider_auth")}
    assert {line["provider"] for line in told["breaker.closed"]} == {"openai"}


def test_a_fault_of_both_is_tried_again_then_dead_lettered_with_its_reason(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler, subtests: pytest.Subtests
) -> None:
    fleet.simulator()
    fleet.worker(**SHORT)
    own = [fault for fault in FAULTS if not fault.of_the_provider]
    dead_letters: list[str] = []
    of_both = [(fault, fault) for fault in own if fault.name not in ("hang", "drip")] + [tuple(own[-2:])]
    for openai, anthropic in of_both:
        with subtests.test(openai=openai.name, anthropic=anthropic.name):
            fleet.behave(openai=openai.behaviour, anthropic=anthropic.behaviour)
            result = ask(client, tenant)
            dead_letters.append(str(result.job_id))
            assert (result.state, result.reason) == (State.FAILED, anthropic.error_code)
            assert result.attempts == 2
            assert result.error is not None
            assert result.error["code"] == anthropic.error_code
            runs = runs_of(ops, result.job_id)
            assert [run["provider"] for run in runs] == ["openai", "anthropic"] * result.attempts
            for run, call in zip(runs, entries(fleet, runs), strict=True):
                check_fault(run, call, openai if run["provider"] == "openai" else anthropic)
    with subtests.test("on_unknown=fail"):
        fleet.behave(openai={"fault": "cut"}, anthropic={"fault": "none"})
        result = ask(client, tenant, on_unknown="fail")
        dead_letters.append(str(result.job_id))
        assert (result.state, result.reason, result.attempts) == (State.FAILED, "outcome_unknown", 1)
        (run,) = runs_of(ops, result.job_id)
        assert (run["status"], run["cost_usd"]) == ("unknown", run["reserved_usd"])
    check_books(ops, fleet.journal())
    dead = logged(fleet)["job.dead_letter"]
    assert {line["job_id"] for line in dead} == set(dead_letters)
    assert [(line["reason"], line["code"], line["provider"], line["level"]) for line in dead][-1] == (
        "outcome_unknown", "provider_answer_lost", "openai", "warning",
    )  # fmt: skip


def test_an_outage_of_both_is_outlived_and_burns_no_attempt(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler, subtests: pytest.Subtests
) -> None:
    """For each fault of providers, for longer than three attempts and their backoff take; half of the jobs came before.

    Half-open breakers let probes through all the while.
    """
    fleet.simulator()
    fleet.worker(**{**SHORT, "HEADRACE_BREAKER_FAIL_MAX": "3", "HEADRACE_RETRY_CAP_S": "0.5"})
    for fault in (one for one in FAULTS if one.of_the_provider):
        with subtests.test(fault=fault.name):
            fleet.behave(openai=fault.behaviour, anthropic=fault.behaviour)
            already = len(fleet.journal())
            ids = [client.enqueue(tenant_id=tenant, **CHAT) for _ in range(6)]
            eventually(lambda already=already: len(fleet.journal()) >= already + 8, why="calls and probes have failed")
            waiting = [client.result(job_id, tenant_id=tenant) for job_id in ids]
            assert {one.cost_usd for one in waiting} == {0}
            assert not any(one.state.ended for one in waiting)
            fleet.behave(openai={"fault": "none"}, anthropic={"fault": "none"})
            results = [client.result(job_id, tenant_id=tenant, timeout=60) for job_id in ids]
            assert {(one.state, one.attempts) for one in results} == {(State.SUCCEEDED, 1)}
            failed = [run for job_id in ids for run in runs_of(ops, job_id) if run["status"] != "succeeded"]
            assert {(run["status"], run["error_code"], run["cost_usd"]) for run in failed} - {
                ("failed", "breaker_open", 0), ("failed", "rate_limit_held", 0),
            } == {("failed", fault.error_code, 0)}  # fmt: skip
    check_books(ops, fleet.journal())


def test_a_deadline_bounds_the_call(client: Client, fleet: Fleet, ops: Database, tenant: UUID) -> None:
    fleet.simulator(openai={"fault": "hang"}, anthropic={"fault": "hang"})
    fleet.worker(HEADRACE_CALL_TIMEOUT_S="600")
    result = ask(client, tenant, deadline=datetime.now(UTC) + timedelta(seconds=3))
    assert (result.state, result.reason) == (State.EXPIRED, "deadline_passed")
    (run,) = runs_of(ops, result.job_id)
    assert (run["status"], run["error_code"], run["cost_usd"]) == ("unknown", "provider_timeout", run["reserved_usd"])
    entries(fleet, [run])
    check_books(ops, fleet.journal())


POLICY = """
tiers:
  cheap:
    primary: {provider: openai, model: gpt-6-luna}
    backup: {provider: anthropic, model: claude-haiku-5-5}
  strong:
    primary: {provider: openai, model: gpt-of-tomorrow}
"""


def test_without_a_price_or_a_key_no_call_is_made(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    fleet.simulator()

    fleet.worker(HEADRACE_ROUTING_POLICY=str(policy))
    unpriced = ask(client, tenant, force_tier="strong")
    assert (unpriced.state, unpriced.reason) == (State.REJECTED, "unpriced_model")
    assert unpriced.error is not None
    assert (unpriced.error["field"], unpriced.error["value"]) == ("model", "gpt-of-tomorrow")
    # the database knows it, this worker's policy does not
    unknown = client.enqueue(tenant_id=tenant, **{**CHAT, "feature": "report"})
    eventually(lambda: client.result(unknown, tenant_id=tenant).reason == "feature_not_here")
    assert fleet.journal() == []
    assert fleet.end("worker") == 0

    fleet.worker(HEADRACE_ROUTING_POLICY=str(policy), OPENAI_API_KEY="")
    backup = ask(client, tenant)
    assert backup.state is State.SUCCEEDED
    (run,) = runs_of(ops, backup.job_id)
    assert (run["provider"], run["fallback"]) == ("anthropic", True)
    (call,) = fleet.journal()
    assert (call["provider"], call["client_request_id"]) == ("anthropic", str(run["id"]))
    nobody = ask(client, tenant, force_tier="strong")
    assert (nobody.state, nobody.reason) == (State.REJECTED, "no_provider_key")
    assert nobody.error is not None and "openai" in nobody.error["value"]
    assert len(fleet.journal()) == 1
    with ops.connection() as connection:
        assert jobs.cancel(connection, tenant, unknown, by="o") == "cancelled"
    check_books(ops, fleet.journal())


def test_what_is_cut_is_asked_again_and_what_is_too_dear_is_refused_or_waits(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    fleet.simulator()
    fleet.worker(HEADRACE_MAX_ATTEMPTS="2")

    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "minLength": 400}},
        "required": ["text"],
        "additionalProperties": False,
    }
    cut = ask(client, tenant, output_schema=schema, max_output_tokens=16)
    assert (cut.state, cut.reason, cut.attempts) == (State.FAILED, "output_invalid", 2)
    assert cut.error is not None and "cut at max_output_tokens" in cut.error["message"]
    runs = runs_of(ops, cut.job_id)
    assert [(run["provider"], run["status"]) for run in runs] == [("openai", "succeeded")] * 2
    assert cut.cost_usd == sum(run["cost_usd"] for run in runs) > 0
    whole = ask(client, tenant, output_schema=schema, max_output_tokens=1000)
    assert whole.state is State.SUCCEEDED and len(whole.output_json["text"]) >= 400

    poor = new_tenant(ops, "Poor", daily_cap_usd=Decimal("0.00001"))
    refused = ask(client, poor)
    assert (refused.state, refused.reason, refused.cost_usd) == (State.REJECTED, "over_budget", 0)
    facts = refused.error
    assert facts is not None
    assert (facts["field"], facts["value"]) == ("cap.tenant", "tenant")
    assert (Decimal(facts["limit_usd"]), Decimal(facts["spent_usd"])) == (Decimal("0.00001"), 0)
    assert Decimal(facts["worst_case_usd"]) > Decimal(facts["limit_usd"])
    assert facts["room_at"] is None
    assert runs_of(ops, refused.job_id) == []

    # a cap that fits the job, but not beside what was spent already
    thrifty = new_tenant(ops, "Thrifty")
    (first,) = runs_of(ops, ask(client, thrifty).job_id)
    assert first["cost_usd"] > 0
    with ops.connection() as connection:
        cap = (first["reserved_usd"] + first["cost_usd"] / 2) * 5  # a user's part of it is a fifth
        tenants.set_cap(connection, thrifty, cap, actor="a test")
    waiting = client.enqueue(tenant_id=thrifty, on_over_budget="wait", **CHAT)
    eventually(lambda: client.result(waiting, tenant_id=thrifty).state is State.SCHEDULED, why="it waits for room")
    with ops.connection() as connection:
        (job,) = connection.execute("select * from headrace.job_status where id = %s", [waiting]).fetchall()
    room_at = first["created_at"].replace(minute=0, second=0, microsecond=0) + timedelta(hours=25)
    assert (job["reason"], job["attempts"], job["run_at"]) == ("over_budget", 0, room_at)
    late = ask(client, thrifty, on_over_budget="wait", deadline=room_at - timedelta(seconds=1))
    assert (late.state, late.cost_usd) == (State.EXPIRED, 0)
    check_books(ops, fleet.journal(), all_ended=False)


def test_an_open_breaker_defers_without_burning_an_attempt(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    fleet.simulator(openai={"fault": "500"}, anthropic={"fault": "500"})
    fleet.worker(threads=1, HEADRACE_BREAKER_FAIL_MAX="1", HEADRACE_BREAKER_RESET_S="3600")
    first = client.enqueue(tenant_id=tenant, **CHAT)  # opens both breakers by its first calls

    def held(job_id: UUID) -> Result | None:
        result = client.result(job_id, tenant_id=tenant)
        return result if (result.state, result.reason) == (State.SCHEDULED, "provider_held") else None

    opened = eventually(lambda: held(first), why="it waits for its providers")
    assert opened.attempts == 0
    assert len(runs_of(ops, first)) == 2
    more = [client.enqueue(tenant_id=tenant, **CHAT) for _ in range(3)]
    for job_id in more:
        result = eventually(lambda job_id=job_id: held(job_id), why="the breakers are open")
        assert (result.attempts, result.cost_usd) == (0, 0)
        assert runs_of(ops, job_id) == []
    assert len(fleet.journal()) == 2
    check_books(ops, fleet.journal(), all_ended=False)
