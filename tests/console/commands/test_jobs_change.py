"""``headrace jobs cancel`` and ``retry``, ``headrace doctor --audit``: on jobs at each stage of life."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit
from storage.jobs import jobs
from storage.jobs.jobs import State
from storage.jobs.selection import Selection
from tests.support.fleet import Fleet, eventually


def headrace(fleet: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "console.main", *arguments, "--json"], env=fleet.env, cwd=fleet.directory,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _ask(client: Client, tenant: UUID, **fields: object) -> UUID:
    return client.enqueue(
        tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "Hello there"}], **fields
    )


@pytest.fixture
def ready(fleet: Fleet) -> Fleet:
    fleet.simulator()
    return fleet


def test_a_waiting_job_is_cancelled_once(client: Client, ready: Fleet, tenant: UUID) -> None:
    job_id = _ask(client, tenant)
    first, second = headrace(ready, "jobs", "cancel", str(job_id)), headrace(ready, "jobs", "cancel", str(job_id))
    assert (first.returncode, json.loads(first.stdout)["state"]) == (0, "cancelled"), first.stderr
    assert (second.returncode, json.loads(second.stdout)["state"]) == (0, "cancelled")
    assert client.result(job_id, tenant_id=tenant).state == "cancelled"


def test_a_running_job_is_cancelled_and_what_its_call_used_is_paid(
    client: Client, ready: Fleet, ops: Database, tenant: UUID
) -> None:
    ready.worker()
    simulator = ready.processes["simulator"]
    simulator.send_signal(signal.SIGSTOP)  # the call lasts as long as the command takes
    try:
        job_id = _ask(client, tenant)
        eventually(lambda: client.result(job_id, tenant_id=tenant).state == "running")
        assert json.loads(headrace(ready, "jobs", "cancel", str(job_id)).stdout)["state"] == "cancelling"
    finally:
        simulator.send_signal(signal.SIGCONT)
    result = client.result(job_id, tenant_id=tenant, timeout=20)
    assert (result.state, result.output) == ("cancelled", None)
    assert (result.cost_usd > 0) == bool(ready.journal())
    shown = json.loads(headrace(ready, "jobs", "show", str(job_id)).stdout)
    assert next(entry["what"] for entry in shown["timeline"]) == "enqueued"
    assert "cancel_requested" in [entry["what"] for entry in shown["timeline"]]
    assert [entry["what"] for entry in shown["timeline"]][-1] == "cancelled"


def test_an_ended_job_is_asked_anew_as_a_new_job(client: Client, ready: Fleet, tenant: UUID) -> None:
    job_id = _ask(client, tenant)
    headrace(ready, "jobs", "cancel", str(job_id))
    done = headrace(ready, "jobs", "retry", str(job_id))
    assert done.returncode == 0, done.stderr
    again = UUID(json.loads(done.stdout)["id"])
    ready.worker()
    assert client.result(again, tenant_id=tenant, timeout=20).state == "succeeded"
    assert client.result(job_id, tenant_id=tenant).state == "cancelled"
    refused = headrace(ready, "jobs", "retry", str(again))
    assert refused.returncode == 2
    assert "only a job that ended without an answer" in refused.stdout + refused.stderr

    said_twice = json.loads(headrace(ready, "jobs", "retry", str(job_id)).stdout)
    assert said_twice == {"id": str(again), "repeats": str(job_id), "created": False, "state": "succeeded"}
    dead, new = (json.loads(headrace(ready, "jobs", "show", str(one)).stdout) for one in (job_id, again))
    assert (dead["asked_again_as"], dead["repeats"]) == (str(again), None)
    assert (new["asked_again_as"], new["repeats"]) == (None, str(job_id))
    listed = json.loads(headrace(ready, "jobs", "list").stdout)["jobs"]
    assert [(one["id"], one["asked_again_as"], one["repeats"]) for one in listed] == [
        (str(again), None, str(job_id)),
        (str(job_id), str(again), None),
    ]


def test_a_job_that_is_asked_again_by_many_at_once_becomes_one_job(
    client: Client, ops: Database, app: Database, tenant: UUID
) -> None:
    job_id, old = _ask(client, tenant), _ask(client, tenant)
    with ops.connection() as connection:
        assert jobs.cancel(connection, tenant, job_id, by="o") == "cancelled"
        assert jobs.cancel(connection, tenant, old, by="o") == "cancelled"

    def ask_again(number: int) -> jobs.AskedAgain | None:
        with psycopg.connect(ops.url, row_factory=dict_row) as connection:
            gate.wait()
            return jobs.run_again(connection, tenant, job_id, new_id(), by=f"operator {number}")

    gate = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        done = [one for one in pool.map(ask_again, range(6)) if one is not None]
    assert len({one.job_id for one in done}) == 1
    assert [one.created for one in done].count(True) == 1
    with ops.connection() as connection:
        assert len(jobs.list_jobs(connection, Selection(tenant_id=tenant, states=(State.QUEUED,)), limit=9)) == 1
        # a job that was retried when only its history said so
        first = jobs.run_again(connection, tenant, old, new_id(), by="o")
        connection.execute("update headrace.jobs set asked_again_as = null where id = %s", [old])
        second = jobs.run_again(connection, tenant, old, new_id(), by="o")
        assert first is not None and second == jobs.AskedAgain(first.job_id, "interactive", created=False)
        # the id of a job that is there already is not the new job's
        other = _ask(client, tenant)
        assert jobs.cancel(connection, tenant, other, by="o") == "cancelled"
        with pytest.raises(psycopg.Error) as refused:
            jobs.run_again(connection, tenant, other, old, by="o")
        assert refused.value.sqlstate == jobs.REFUSED_SQLSTATE


def test_the_audit_is_clean_and_finds_a_breach(
    client: Client, ready: Fleet, ops: Database, app: Database, tenant: UUID
) -> None:
    ready.env["HEADRACE_SIMULATOR_URL"] = ready.simulator_url
    ready.worker()
    job_id = _ask(client, tenant)
    client.result(job_id, tenant_id=tenant, timeout=20)
    clean = headrace(ready, "doctor", "--audit")
    assert clean.returncode == 0, clean.stdout
    assert len(json.loads(clean.stdout)["findings"]) == len(audit.CHECKS) + 1  # and whether a turn is missing

    with ops.connection() as connection:
        connection.execute("update headrace.caps set spent_usd = spent_usd + 1 where scope = 'user'")
    broken = headrace(ready, "doctor", "--audit")
    assert broken.returncode == 1
    wrong = [one["part"] for one in json.loads(broken.stdout)["findings"] if one["verdict"] == "wrong"]
    assert wrong == ["window_equals_buckets"]


def test_queued_work_without_a_turn_is_found(client: Client, ready: Fleet, app: Database, tenant: UUID) -> None:
    request = {"id": str(new_id()), "user_id": "u", "feature": "chat", "messages": [{"role": "user", "content": "x"}]}
    with app.connection() as connection:  # past the client: no turn is offered, and no scheduler sweeps
        jobs.enqueue_batch(connection, tenant, [request], wake=False)
    done = headrace(ready, "doctor", "--audit")
    wrong = [one["part"] for one in json.loads(done.stdout)["findings"] if one["verdict"] == "wrong"]
    assert wrong == ["no_turn_is_missing"]
