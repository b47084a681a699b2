"""What becomes of a job when its worker dies, hangs or comes back late; when it fails, and when its time is up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from producers import Client, Result
from queues.turns import Wire
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import recovery, workers
from storage.jobs import jobs
from tests.support.audit import check_books
from tests.support.database_clock import Clock
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.in_process import fresh, one_simulator, pipeline, turn
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    enqueue_jobs,
    planned_call,
    request,
    settle_job,
    succeeded_outcome,
)
from workers.scheduler import Scheduler

SILENT_S = 2.0  # of the `scheduler` fixture


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with one_simulator(tmp_path_factory.mktemp("simulator")) as fleet:
        yield fleet


@pytest.fixture
def simulator(one: Fleet) -> Fleet:
    return fresh(one)


def asked(tenant: UUID, **fields: Any) -> dict[str, Any]:
    return {"tenant_id": tenant, "user_id": "u", "feature": "chat", "max_output_tokens": 100,
            "messages": [{"role": "user", "content": "What is seven times seven?"}], **fields}  # fmt: skip


def rows(ops: Database, query: str, *values: object) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        return connection.execute(query, values).fetchall()  # type: ignore[call-overload,no-any-return]


def events(ops: Database, job_id: UUID) -> list[str]:
    with ops.connection() as connection:
        return [row["what"] for row in jobs.history(connection, job_id)]


def ended(client: Client, tenant: UUID, job_id: UUID) -> Result:
    result = client.result(job_id, tenant_id=tenant, timeout=30)
    assert result.state.ended, result
    return result


def ended_not(client: Client, tenant: UUID, job_id: UUID) -> Result:
    result = client.result(job_id, tenant_id=tenant)
    assert not result.state.ended, result
    return result


# ------------------------------------------------------------------------------------------------ workers that are lost


def die_with(app: Database, tenant: UUID, *, in_mid_call: bool = True) -> UUID:
    """Claim the next job for a worker that never sends a heartbeat, and begin its call; the claim's id."""
    claim_id = new_id()
    with app.connection() as connection:
        job = claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
        assert job is not None
        if in_mid_call:
            assert begin_call(connection, tenant, job.job_id, claim_id, planned_call()).verdict == "granted"
    return claim_id


def reclaim(ops: Database) -> recovery.Reclaimed | None:
    with ops.connection() as connection:
        return recovery.reclaim(connection, silent_s=SILENT_S, max_deaths=3)


def test_a_job_that_three_workers_died_of_is_poison(app: Database, ops: Database, tenant: UUID, client: Client) -> None:
    with app.connection() as connection:
        job_id = enqueue_job(connection, tenant)
    states = []
    for _ in range(3):
        die_with(app, tenant)
        taken = reclaim(ops)
        assert taken is not None
        states.append(taken.state)
    assert states == ["queued", "queued", "failed"]
    result = ended(client, tenant, job_id)
    assert (result.state, result.reason, result.attempts) == ("failed", "poison", 3)
    assert result.error is not None
    assert result.error["message"] == "3 workers fell silent while they ran this job"
    history = events(ops, job_id)
    assert (history.count("call unknown"), history.count("reclaimed"), history[-1]) == (3, 2, "failed")
    check_books(ops, None)


def hold_in_worker(app: Database, ops: Database, tenant: UUID, *, timeout_s: float = 60.0) -> UUID:
    """Claim the next job for a worker that lives, and begin its call; the worker's id."""
    worker_id, claim_id = new_id(), new_id()
    with ops.connection() as connection:
        workers.heartbeat(connection, worker_id, host="here", pid=1, threads=1)
    with app.connection() as connection:
        job = claim_job(connection, tenant, claim_id=claim_id, worker_id=worker_id, timeout_s=timeout_s)
        assert job is not None
        assert begin_call(connection, tenant, job.job_id, claim_id, planned_call()).verdict == "granted"
    return worker_id


def test_a_drain_in_the_middle_of_a_long_job_is_not_a_death(app: Database, ops: Database, tenant: UUID) -> None:
    with app.connection() as connection:
        job_id = enqueue_job(connection, tenant)
    for _ in range(5):
        worker_id = hold_in_worker(app, ops, tenant)
        with ops.connection() as connection:
            workers.stopped(connection, worker_id)
        assert reclaim(ops) == recovery.Reclaimed(tenant, "interactive", job_id, "queued")
    (queued,) = rows(ops, "select attempts, deaths, overdue from headrace.queue")
    assert queued == {"attempts": 0, "deaths": 0, "overdue": 0}
    assert events(ops, job_id).count("call unknown") == 5
    check_books(ops, None, all_ended=False)


def test_claims_past_their_time_in_live_workers_end_a_job_but_not_as_poison(
    app: Database, ops: Database, tenant: UUID, client: Client
) -> None:
    with app.connection() as connection:
        job_id = enqueue_job(connection, tenant)
    states = []
    for _ in range(3):
        hold_in_worker(app, ops, tenant, timeout_s=0.0)
        taken = reclaim(ops)
        assert taken is not None
        states.append(taken.state)
    assert states == ["queued", "queued", "failed"]
    result = ended(client, tenant, job_id)
    assert (result.state, result.reason, result.attempts) == ("failed", "overdue", 3)
    assert result.error == {
        "code": "overdue", "deaths": 0, "overdue": 3,
        "message": "3 claims of this job ran past their time in workers that live",
    }  # fmt: skip
    check_books(ops, None)


def test_the_error_tells_deaths_from_claims_past_their_time(
    app: Database, ops: Database, tenant: UUID, client: Client
) -> None:
    with app.connection() as connection:
        job_id = enqueue_job(connection, tenant)
    die_with(app, tenant)
    assert reclaim(ops) is not None
    hold_in_worker(app, ops, tenant, timeout_s=0.0)
    assert reclaim(ops) is not None
    die_with(app, tenant)
    assert reclaim(ops) == recovery.Reclaimed(tenant, "interactive", job_id, "failed", "overdue")
    result = ended(client, tenant, job_id)
    assert result.error is not None
    assert (result.reason, result.error["deaths"], result.error["overdue"]) == ("overdue", 2, 1)
    assert "2 workers fell silent" in result.error["message"]


@pytest.mark.parametrize(("in_mid_call", "state"), [(True, "failed"), (False, "queued")])
def test_a_job_that_must_not_be_repeated_ends_if_a_call_was_under_way(
    in_mid_call: bool, state: str, app: Database, ops: Database, tenant: UUID
) -> None:
    with app.connection() as connection:
        job_id = enqueue_job(connection, tenant, on_unknown="fail")
    die_with(app, tenant, in_mid_call=in_mid_call)
    reason = "outcome_unknown" if in_mid_call else None
    assert reclaim(ops) == recovery.Reclaimed(tenant, "interactive", job_id, state, reason)
    (row,) = rows(ops, "select state, reason from headrace.job_status")
    assert row == {"state": state, "reason": "outcome_unknown" if state == "failed" else None}
    check_books(ops, None, all_ended=state == "failed")


def test_whoever_lost_a_job_is_told_so_even_when_it_has_ended(app: Database, ops: Database, tenant: UUID) -> None:
    with app.connection() as connection:
        job_id = enqueue_job(connection, tenant, on_unknown="fail")
    claim_id = die_with(app, tenant)
    reclaim(ops)
    (run,) = rows(ops, "select id from headrace.runs")
    with app.connection() as connection:
        state = settle_job(
            connection, tenant, job_id, claim_id, answered_run(run["id"]), "ended", **succeeded_outcome(run["id"])
        )
    assert state == "lost"
    (job,) = rows(ops, "select outcome, reason from headrace.jobs")
    assert job == {"outcome": "failed", "reason": "outcome_unknown"}
    (run,) = rows(ops, "select status, output_tokens from headrace.runs")
    assert run == {"status": "succeeded", "output_tokens": 20}
    check_books(ops, None)


def test_a_worker_that_lost_its_job_is_not_told_to_call(app: Database, ops: Database, tenant: UUID) -> None:
    """Its begin was done and the answer lost; before the repeat, the job was reclaimed."""
    with app.connection() as connection:
        enqueue_job(connection, tenant)
        claim_id, planned = new_id(), planned_call()
        job = claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
        assert job is not None
        assert begin_call(connection, tenant, job.job_id, claim_id, planned).verdict == "granted"
        reclaim(ops)
        assert begin_call(connection, tenant, job.job_id, claim_id, planned).verdict == "lost"


def test_a_stopped_worker_that_goes_on_ends_nothing_and_its_usage_is_on_its_own_run(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    """SIGSTOP in mid-call for twice the silence limit, then SIGCONT."""
    fleet.simulator(openai={"latency_ms": 3000})
    sleeper = fleet.worker("sleeper", threads=1)
    job_id = client.enqueue(**asked(tenant))
    eventually(lambda: rows(ops, "select from headrace.runs"), every_s=0.01, why="the call is under way")
    sleeper.send_signal(signal.SIGSTOP)
    fleet.behave(openai={"latency_ms": 0})
    fleet.worker("other", threads=1)
    assert ended(client, tenant, job_id).state == "succeeded"
    first, second = rows(ops, "select * from headrace.runs order by id")
    assert (first["status"], second["status"]) == ("unknown", "succeeded")
    assert first["cost_usd"] == first["reserved_usd"] > second["cost_usd"]

    twice = "select from headrace.workers where heartbeat_at < now() - make_interval(secs => %s)"
    eventually(lambda: rows(ops, twice, 2 * SILENT_S), why="it is silent for twice the limit")
    sleeper.send_signal(signal.SIGCONT)
    settled = "select * from headrace.runs where id = %s and status = 'succeeded'"
    (late,) = eventually(lambda: rows(ops, settled, first["id"]), why="the zombie settles its run")

    assert late["cost_usd"] < late["reserved_usd"]
    history = events(ops, job_id)
    assert (history.count("succeeded"), history.count("reclaimed")) == (1, 1)
    (result,) = rows(ops, "select run_id from headrace.results")
    assert result["run_id"] == second["id"]
    assert len(fleet.journal()) == 2
    check_books(ops, fleet.journal())


def test_a_claim_past_its_deadline_is_reclaimed_though_the_process_lives(
    client: Client, fleet: Fleet, ops: Database, tenant: UUID, scheduler: Scheduler
) -> None:
    fleet.simulator(openai={"fault": "hang"})
    hung = fleet.worker("hung", threads=1, HEADRACE_CLAIM_TIMEOUT_S="3")
    job_id = client.enqueue(**asked(tenant))
    eventually(lambda: "reclaimed" in events(ops, job_id), why="it is reclaimed")
    assert hung.poll() is None
    with ops.connection() as connection:
        assert [one["pid"] for one in workers.alive(connection, SILENT_S)] == [hung.pid]
    fleet.behave(openai={"fault": "none"})
    fleet.worker("other", threads=1)
    assert ended(client, tenant, job_id).attempts == 2
    assert [run["status"] for run in rows(ops, "select status from headrace.runs order by id")] == [
        "unknown",
        "succeeded",
    ]
    check_books(ops, fleet.journal())


def test_a_live_worker_keeps_its_job(app: Database, ops: Database, tenant: UUID) -> None:
    worker_id = new_id()
    with ops.connection() as connection:
        workers.heartbeat(connection, worker_id, host="here", pid=1, threads=1)
    with app.connection() as connection:
        enqueue_job(connection, tenant)
        assert claim_job(connection, tenant, claim_id=new_id(), worker_id=worker_id) is not None
    assert reclaim(ops) is None
    with ops.connection() as connection:
        workers.stopped(connection, worker_id)
    assert reclaim(ops) is not None


# ------------------------------------------------------------------------------------------------------ what fails


def test_a_retry_waits_as_long_as_the_provider_asked_and_a_bit_more(
    app: Database, client: Client, simulator: Fleet, ops: Database, wiped_wire: Wire, tenant: UUID
) -> None:
    busy = {"fault": "429", "retry_after_s": 7}
    simulator.behave(openai=busy, anthropic=busy)
    job_id = client.enqueue(**asked(tenant))
    pipeline(app, ops, wiped_wire, simulator).run(turn(tenant))
    (event,) = rows(ops, "select at, event, detail from headrace.job_events where job_id = %s", job_id)
    assert event["event"] == "provider_rate_limited"
    waits = datetime.fromisoformat(event["detail"]["run_at"]) - event["at"]
    assert timedelta(seconds=7) <= waits <= timedelta(seconds=7.2)  # 100 ms of grace, and 20 ms of jitter at most
    assert ended_not(client, tenant, job_id).attempts == 0
    assert [one["status"] for one in simulator.journal()] == [429, 429]
    check_books(ops, simulator.journal(), all_ended=False)


def test_a_refused_key_is_waited_for_until_it_is_renewed(
    app: Database, client: Client, simulator: Fleet, ops: Database, wiped_wire: Wire, tenant: UUID
) -> None:
    simulator.behave(openai={"fault": "auth"}, anthropic={"fault": "auth"})
    job_id = client.enqueue(**asked(tenant))
    pipeline(app, ops, wiped_wire, simulator).run(turn(tenant))
    result = ended_not(client, tenant, job_id)
    assert (result.reason, result.attempts, result.cost_usd) == ("provider_held", 0, 0)
    assert [one["status"] for one in simulator.journal()] == [401, 401]
    check_books(ops, simulator.journal(), all_ended=False)


def test_a_permanent_error_dead_letters_at_once_with_its_history(
    app: Database, client: Client, simulator: Fleet, ops: Database, wiped_wire: Wire, tenant: UUID
) -> None:
    simulator.behave(openai={"fault": "400"}, anthropic={"fault": "400"})
    job_id = client.enqueue(**asked(tenant))
    pipeline(app, ops, wiped_wire, simulator).run(turn(tenant))
    result = ended(client, tenant, job_id)
    assert (result.state, result.reason, result.attempts, result.cost_usd) == ("failed", "provider_refused", 1, 0)
    assert events(ops, job_id) == ["enqueued", "call", "call failed", "call", "call failed", "failed"]
    check_books(ops, simulator.journal())


# ------------------------------------------------------------------------------------------------- whose time is up


@pytest.fixture
def clock(urls: Urls) -> Iterator[Clock]:
    """Postgres's time, by hand from now on."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, datetime.now(UTC))


def test_a_waiting_job_past_its_deadline_expires_by_itself(
    client: Client, ops: Database, tenant: UUID, clock: Clock, scheduler: Scheduler
) -> None:
    queued = client.enqueue(**asked(tenant, deadline=clock.now + timedelta(hours=2)))
    scheduled = client.enqueue(
        **asked(tenant, run_at=clock.now + timedelta(hours=1), deadline=clock.now + timedelta(hours=2))
    )
    clock.advance(2 * 3600)
    for job_id in (queued, scheduled):
        result = ended(client, tenant, job_id)
        assert (result.state, result.reason, result.attempts) == ("expired", "deadline_passed", 0)
    check_books(ops, [])


def test_a_claim_passes_over_what_is_late(app: Database, ops: Database, tenant: UUID, clock: Clock) -> None:
    with app.connection() as connection:
        late = enqueue_job(connection, tenant, deadline=(clock.now + timedelta(seconds=1)).isoformat())
        alive = enqueue_job(connection, tenant)
        clock.advance(1)
        job = claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id())
    assert job is not None
    assert job.job_id == alive
    state = "select state from headrace.job_status where id = %s"
    assert rows(ops, state, late) == [{"state": "queued"}], "a claim ends nothing"
    with ops.connection() as connection:
        assert recovery.expire(connection) == 1
    assert rows(ops, state, late) == [{"state": "expired"}]


def test_an_enqueue_that_is_repeated_after_the_deadline_is_told_the_job(
    app: Database, tenant: UUID, clock: Clock
) -> None:
    """Its answer was lost. The job is in, whatever would be said to a new one."""
    one = request(deadline=(clock.now + timedelta(seconds=1)).isoformat())
    with app.connection() as connection:
        (first,) = enqueue_jobs(connection, tenant, one)
        clock.advance(1)
        (again,) = enqueue_jobs(connection, tenant, one)
        (other,) = enqueue_jobs(connection, tenant, {**one, "id": str(new_id())})
    assert (again.job_id, again.created, again.error) == (first.job_id, False, None)
    assert other.error is not None
    assert other.error["code"] == "deadline_passed"


# --------------------------------------------------------------------------------------------------- what falls due


def test_jobs_of_one_user_that_fall_due_together_stand_in_line_like_any_others(
    app: Database, ops: Database, tenant: UUID, clock: Clock
) -> None:
    later = (clock.now + timedelta(seconds=1)).isoformat()
    with app.connection() as connection, ops.connection() as scheduler:
        enqueue_jobs(connection, tenant, *[request(user_id="flood", run_at=later) for _ in range(50)])
        clock.advance(1)
        assert recovery.release_due(scheduler) == {"interactive": {tenant: 50}}
        claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id())
        enqueue_job(connection, tenant, user_id="colleague")
        order = [claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id()) for _ in range(2)]
    assert "colleague" in [one.user_id for one in order if one]
