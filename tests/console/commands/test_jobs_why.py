"""``headrace jobs why``: the reason in words for people, all of it for programs."""

from __future__ import annotations

from uuid import UUID, uuid4

from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import workers
from tests.console.commands.conftest import Headrace


def test_the_reason_is_told_to_people_and_to_programs(headrace: Headrace, client: Client, tenant: UUID) -> None:
    job_id = client.enqueue(
        tenant_id=tenant, user_id="ada", feature="chat", messages=[{"role": "user", "content": "Hello"}]
    )

    alone = headrace("jobs", "why", job_id, "--json")
    headrace("pause", "--tenant", "Acme")
    shown = headrace("jobs", "why", job_id)

    assert (alone.code, alone.json["why"], alone.json["state"]) == (0, "no_workers", "queued")
    assert (alone.json["job_id"], alone.json["starts_in_s"], alone.json["too_late"]) == (str(job_id), None, False)
    assert shown.code == 0
    assert "its tenant is paused" in shown.out
    assert f"headrace resume --tenant {tenant}" in shown.out
    assert "the start cannot be predicted" in shown.out


def test_nothing_is_foretold_with_a_dead_wire_or_without_a_scheduler(
    headrace: Headrace, client: Client, ops: Database, tenant: UUID
) -> None:
    job_id = client.enqueue(
        tenant_id=tenant, user_id="ada", feature="chat", messages=[{"role": "user", "content": "Hello"}]
    )
    with ops.connection() as connection:
        workers.heartbeat(connection, new_id(), host="here", pid=1, threads=8)

    slow = {"HEADRACE_WORKER_SILENT_S": "600"}  # however slow this machine is
    dead = headrace("jobs", "why", job_id, env=slow | {"HEADRACE_REDIS_URL": "redis://me:geheim@127.0.0.1:1/0"})
    alone = headrace("jobs", "why", job_id, env=slow)

    for shown in (dead, alone):
        assert shown.code == 0
        assert "the start cannot be predicted" in shown.out
        assert "less than a second" not in shown.out
    assert "takes no offer" in dead.out
    assert "geheim" not in dead.out
    assert "no scheduler is alive" in alone.out
    assert "headrace scheduler" in alone.out


def test_what_is_no_job_is_refused(headrace: Headrace, tenant: UUID) -> None:
    nowhere = headrace("jobs", "why", uuid4(), "--json")
    nothing = headrace("jobs", "why", "x", "--json")

    assert (nowhere.code, nowhere.json["error"]["code"]) == (2, "not_found")
    assert (nothing.code, nothing.json["error"]["field"]) == (2, "id")
