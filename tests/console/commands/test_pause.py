"""``headrace pause`` and ``resume``: what is paused is not claimed, the rest goes on, and a resume offers at once."""

from __future__ import annotations

import os
import pwd
from typing import Any
from uuid import UUID

import pytest

from console import pausing
from errors import InvalidInputError
from producers import Client
from queues.turns import Wire
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet.pauses import PausableKind
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace
from tests.support import transactions


def claims(app: Database, tenant: UUID, lane: str = "interactive") -> bool:
    """Whether the tenant's next turn finds a job."""
    with app.as_tenant(tenant) as connection, connection.transaction():
        return transactions.claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id(), lane=lane) is not None


def enqueue(client: Client, tenant: UUID, n: int = 1, **fields: Any) -> None:
    for _ in range(n):
        client.enqueue(**{
            "tenant_id": tenant, "user_id": "ada", "feature": "chat",
            "messages": [{"role": "user", "content": "Hello"}], **fields,
        })  # fmt: skip


def drained(wire: Wire) -> None:
    """Take every turn off the wire, as workers do that find nothing to claim."""
    for lane in wire.lanes:
        while wire.take(lane, 64):
            pass


def audited(ops: Database) -> list[tuple[Any, ...]]:
    with ops.connection() as connection:
        rows = connection.execute(
            "select actor, action, target, tenant_id, before is null as fresh, after is null as gone"
            " from headrace.audit order by id"
        ).fetchall()
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("option", "held", "untouched"),
    [
        ("--tenant=Acme", ("Acme", "chat", "interactive"), ("Bee", "chat", "interactive")),
        ("--feature=report", ("Acme", "report", "interactive"), ("Acme", "chat", "interactive")),
        ("--lane=batch", ("Acme", "chat", "batch"), ("Acme", "chat", "interactive")),
    ],
)
def test_what_is_paused_waits_and_a_resume_offers_its_turns_at_once(
    headrace: Headrace,
    app: Database,
    ops: Database,
    client: Client,
    wiped_wire: Wire,
    tenant: UUID,
    option: str,
    held: tuple[str, str, str],
    untouched: tuple[str, str, str],
) -> None:
    ids = {"Acme": tenant, "Bee": new_tenant(ops, "Bee")}

    paused = headrace("pause", option, "--json")
    enqueue(client, ids[held[0]], 3, feature=held[1], lane=held[2])
    assert not claims(app, ids[held[0]], held[2])
    enqueue(client, ids[untouched[0]], feature=untouched[1], lane=untouched[2])
    assert claims(app, ids[untouched[0]], untouched[2])
    drained(wiped_wire)

    resumed = headrace("resume", option, "--json")  # no scheduler runs here: only the command itself can offer

    assert (paused.code, paused.json["changed"]) == (0, True)
    assert (resumed.code, resumed.json["changed"], resumed.err) == (0, True, "")
    assert wiped_wire.outstanding(held[2]) == {str(ids[held[0]]): 3}
    assert claims(app, ids[held[0]], held[2])


def test_said_twice_changes_nothing_and_is_audited_once(
    headrace: Headrace, ops: Database, wiped_wire: Wire, client: Client, tenant: UUID
) -> None:
    enqueue(client, tenant, 2)
    first = headrace("pause", "--tenant", "Acme")
    again = headrace("pause", "--tenant", str(tenant))
    on = headrace("resume", "--tenant", "Acme")
    drained(wiped_wire)
    on_again = headrace("resume", "--tenant", "Acme")

    assert [one.out for one in (first, again, on, on_again)] == [
        "tenant Acme is paused\n",
        "tenant Acme was paused already\n",
        "tenant Acme goes on\n",
        "tenant Acme was not paused\n",
    ]
    assert wiped_wire.outstanding("interactive") == {str(tenant): 2}, "a repeat mends a first try that lost its turns"
    me = pwd.getpwuid(os.getuid()).pw_name
    assert audited(ops) == [(me, "pause", "tenant", tenant, True, False), (me, "resume", "tenant", tenant, False, True)]


def test_the_list_names_all_that_is_paused_longest_first(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    nothing = headrace("pause", "--json")
    for option in ("--lane=batch", "--tenant=Acme", "--feature=chat"):
        headrace("pause", option)

    listed = headrace("pause", "--json").json["paused"]
    shown = headrace("pause").out

    assert nothing.json == {"paused": []}
    assert [(one["kind"], one["key"], one["name"]) for one in listed] == [
        ("lane", "batch", "batch"), ("tenant", str(tenant), "Acme"), ("feature", "chat", "chat"),
    ]  # fmt: skip
    assert [line.split()[:2] for line in shown.splitlines()[2:]] == [
        ["lane", "batch"], ["tenant", "Acme"], ["feature", "chat"],
    ]  # fmt: skip
    assert [(action, target) for _, action, target, *_ in audited(ops)] == [
        ("pause", "lane:batch"), ("pause", "tenant"), ("pause", "feature:chat"),
    ]  # fmt: skip


def test_a_resume_without_a_wire_holds_and_says_so(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    headrace("pause", "--tenant", "Acme")

    done = headrace("resume", "--tenant", "Acme", env={"HEADRACE_REDIS_URL": "redis://127.0.0.1:9/0"})

    assert (done.code, done.out) == (0, "tenant Acme goes on\n")
    with ops.connection() as connection:
        assert connection.execute("select paused_at from headrace.tenants").fetchone() == {"paused_at": None}


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        (["pause", "--tenant", "Nobody"], "unknown_tenant", "tenant"),
        (["pause", "--feature", "nope"], "unknown_feature", "feature"),
        (["pause", "--lane", "nope"], "unknown_lane", "lane"),
        (["pause", "--lane", "batch", "--feature", "chat"], "invalid_input", "lane"),
        (["resume"], "invalid_input", "tenant"),
        (["resume", "--lane", "nope"], "unknown_lane", "lane"),
    ],
)
def test_what_cannot_be_paused_is_refused(
    headrace: Headrace, ops: Database, tenant: UUID, arguments: list[str], code: str, field: str
) -> None:
    done = headrace(*arguments, "--json")

    assert (done.code, done.json["error"]["code"], done.json["error"]["field"]) == (2, code, field)
    assert audited(ops) == []


def test_the_options_mean_one_thing() -> None:
    assert pausing.meant(tenant=None, feature=None, lane=None) is None
    assert pausing.meant(tenant="Acme", feature=None, lane=None) == (PausableKind.TENANT, "Acme")
    with pytest.raises(InvalidInputError, match="--tenant and --lane"):
        pausing.meant(tenant="Acme", feature=None, lane="batch")
