"""``headrace jobs list`` and ``show``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from storage.money import runs
from storage.money.runs import PlannedCall
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace, Ran
from tests.support.fleet import Urls
from tests.support.transactions import enqueue_job

STORAGE = Path(__file__).parents[3] / "storage"
HI = [{"role": "user", "content": "Hi"}]
ANSWER = "One.\n[red]Two\x1b[2J"


@pytest.fixture
def answered(client: Client, app: Database, tenant: UUID) -> UUID:
    """A job that one call answered."""
    job_id = client.enqueue(tenant_id=tenant, user_id="ada", feature="chat", messages=HI)
    claim_id = new_id()
    with app.connection() as connection:
        jobs.claim(
            connection, tenant, "interactive", claim_id=claim_id, worker_id=new_id(), timeout_s=60, turns_per_tenant=64
        )
        call = PlannedCall(
            run_id=new_id(), kind="answer", provider="openai", model="gpt-6-luna", tier="cheap", route_rule="default",
            fallback=False, input_bound=1000, max_output_tokens=1000, min_output_tokens=None, prompt_id=None,
        )  # fmt: skip
        assert runs.begin(connection, tenant, job_id, claim_id, call).verdict == "granted"
        run = {
            "id": str(call.run_id), "status": "succeeded", "input_tokens": 10, "cached_input_tokens": 0,
            "cache_write_tokens": 0, "output_tokens": 20, "reasoning_tokens": 0, "http_status": 200, "latency_ms": 5,
        }  # fmt: skip
        outcome = {
            "outcome": "succeeded", "run_id": str(call.run_id), "output": ANSWER, "finish": "complete",
            "max_output_tokens": 1000,
        }  # fmt: skip
        done = jobs.settle(connection, tenant, job_id, claim_id, run=run, verdict="ended", outcome=outcome)
        assert done.state == "ended"
    return job_id


def test_times_are_utc_whatever_the_roles_set(headrace: Headrace, answered: UUID, urls: Urls, ops: Database) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        for setting in ("TimeZone = 'Asia/Kolkata'", "DateStyle = 'German'", "IntervalStyle = 'iso_8601'"):
            for role in ("headrace_app", "headrace_ops", "postgres"):
                owner.execute(f"alter role {role} in database {owner.info.dbname} set {setting}")
        row = owner.execute("select created_at from headrace.jobs").fetchone()
    assert row is not None
    created = row[0].astimezone(UTC)

    document = headrace("jobs", "show", answered, "--json").json
    shown = headrace("jobs", "show", answered).out
    listed = headrace("jobs", "list", "--json").json["jobs"]
    checked = headrace("doctor", "--json")

    assert document["created_at"] == listed[0]["created_at"] == f"{created:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert all(one["at"].endswith("Z") for one in document["timeline"])
    assert f"\n{created:%Y-%m-%d %H:%M:%S.%f}"[:-3] in shown  # the first line under "at (UTC)"
    assert f"{created:%Y-%m-%d %H:%M:%S}" in headrace("jobs", "list").out
    assert "database (app)" in {one["part"] for one in checked.json["findings"] if one["verdict"] == "ok"}


def test_show_marks_what_the_simulator_made_up(headrace: Headrace, answered: UUID, urls: Urls) -> None:
    with psycopg.connect(urls.owner) as owner:
        owner.execute("update headrace.results set simulated = true")

    assert headrace("jobs", "show", answered, "--json").json["simulated"] is True
    assert re.search(r"^simulated +yes *$", headrace("jobs", "show", answered).out, re.MULTILINE)


def test_show_tells_the_answer_the_cost_and_all_that_happened(headrace: Headrace, answered: UUID, tenant: UUID) -> None:
    document = headrace("jobs", "show", answered, "--json").json
    shown = headrace("jobs", "show", str(answered).upper())

    assert (document["id"], document["tenant_id"], document["state"]) == (str(answered), str(tenant), "succeeded")
    assert (document["output"], document["finish"], document["error"]) == (ANSWER, "complete", None)
    assert Decimal(document["cost_usd"]) == Decimal("0.000011")
    assert [one["what"] for one in document["timeline"]] == ["enqueued", "call", "call succeeded", "succeeded"]
    assert shown.code == 0
    assert "One.\n[red]Two�[2J\n" in shown.out
    assert document["simulated"] is False
    assert "simulated" not in shown.out
    assert "0.000011" in shown.out
    assert "route_rule=default" in shown.out


def test_list_narrows_by_what_is_given(
    headrace: Headrace, client: Client, ops: Database, tenant: UUID, answered: UUID
) -> None:
    bee = new_tenant(ops, "Bee")
    waiting = client.enqueue(tenant_id=tenant, user_id="ada", feature="chat", messages=HI)
    others = client.enqueue(
        tenant_id=bee, user_id="bob", feature="support_reply", messages=HI, run_at="2100-01-01T00:00:00Z"
    )

    def listed(*arguments: str) -> list[str]:
        return [one["id"] for one in headrace("jobs", "list", "--json", *arguments).json["jobs"]]

    assert listed() == [str(others), str(waiting), str(answered)], "newest first"
    assert listed("--tenant", "Acme", "--limit", "1") == [str(waiting)]
    assert listed("--feature", "chat", "--state", "succeeded") == [str(answered)]
    assert listed("--state", "waiting") == [str(others), str(waiting)], "queued or scheduled"
    table = headrace("jobs", "list", "--tenant", "Bee")
    assert " ".join(table.out.splitlines()[2].split()).startswith(
        f"{others} Bee bob support_reply interactive scheduled asked_for 0"
    )


def test_what_is_not_there_is_told_of(headrace: Headrace, tenant: UUID) -> None:
    no_job = headrace("jobs", "show", new_id(), "--json")
    no_tenant = headrace("jobs", "list", "--tenant", "Nobody", "--json")
    no_state = headrace("jobs", "list", "--state", "asleep")
    nothing = headrace("jobs", "list", "--state", "waiting")

    assert (no_job.code, no_job.json["error"]["code"]) == (2, "not_found")
    assert (no_tenant.code, no_tenant.json["error"]["code"]) == (2, "unknown_tenant")
    assert no_state.err.startswith("error: Invalid value for '--state': 'asleep' is not one of 'scheduled',")
    assert no_state.code == 2 and "'waiting'" in no_state.err
    assert (nothing.code, nothing.err) == (0, "No job fits.\n")


def test_the_first_digits_of_an_id_are_enough_where_they_mean_one_job(
    in_process: Callable[..., Ran], app: Database, tenant: UUID
) -> None:
    def put(job_id: str) -> str:
        with app.connection() as connection:
            return str(enqueue_job(connection, tenant, id=job_id))

    one = put("01990000-aaaa-7000-8000-000000000001")
    several = [put(f"01990000-bbbb-7000-8000-0000000000{n:02x}") for n in range(12)]
    put("01990001-aaaa-7000-8000-000000000001")

    for beginning in ("01990000-a", "01990000A", "0199-0000-aaaa", one[:-1], one, one.upper()):
        assert in_process("jobs", "show", beginning, "--json").json["id"] == one
    assert in_process("jobs", "why", "01990000-a", "--json").json["job_id"] == one
    assert in_process("jobs", "show", "01990001", "--json").json["id"].startswith("01990001")

    many = in_process("jobs", "show", "01990000-bbbb-7000-8000-0000000000", "--json")
    two = in_process("jobs", "cancel", "01990000")
    assert many.code == two.code == 2
    assert many.json["error"]["candidates"] == several[:10]
    assert f"Give more digits. They are {one}, {several[0]}, " in two.err and two.err.count("01990000-bbbb") == 9
    assert " and more. [invalid_input]" in two.err

    for beginning, code in (("0199000", "invalid_input"), ("01990002", "not_found"), ("0199000g", "invalid_input")):
        refused = in_process("jobs", "show", beginning, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (2, code)
    assert in_process("jobs", "cancel", "01990000-a", "--json").json == {"id": one, "state": "cancelled"}


def test_a_beginning_of_an_id_is_looked_up_in_one_partition_by_its_index(ops: Database) -> None:
    text = (STORAGE / "jobs" / "queries" / "jobs" / "by_prefix.sql").read_text("utf-8")
    with ops.connection() as connection:
        connection.execute("set enable_seqscan = off")
        plan = connection.execute(
            "explain (format json) " + text.strip().removesuffix(";"),
            {"first": UUID(int=0x01990000 << 96), "last": UUID(int=(0x01990001 << 96) - 1), "limit": 11},
        ).fetchone()
    assert plan is not None
    shown = json.dumps(plan)
    assert len(set(re.findall(r'"Relation Name": "(\w+)"', shown))) == 1 and "Seq Scan" not in shown
