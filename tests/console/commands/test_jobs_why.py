"""``headrace jobs why``: the reason in words for people, all of it for programs."""

from __future__ import annotations

from uuid import UUID, uuid4

from producers import Client
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
    assert "nobody can tell" in shown.out


def test_what_is_no_job_is_refused(headrace: Headrace, tenant: UUID) -> None:
    nowhere = headrace("jobs", "why", uuid4(), "--json")
    nothing = headrace("jobs", "why", "x", "--json")

    assert (nowhere.code, nowhere.json["error"]["code"]) == (2, "not_found")
    assert (nothing.code, nothing.json["error"]["field"]) == (2, "id")
