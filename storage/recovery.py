"""What the scheduler asks of Postgres, as headrace_ops: due jobs, notes, lost workers, expiry, missing turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from storage.chores import bounded
from storage.connect import Connection
from storage.statements import sql

Turns = Mapping[str, Mapping[UUID, int]]
"""lane → tenant → how many turns."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A job that was taken from a lost worker: queued again, or ended (``failed``: poison or on_unknown)."""

    tenant_id: UUID
    lane: str
    job_id: UUID
    state: str


def release_due(connection: Connection, *, limit: int = 500) -> Turns:
    """Queue the scheduled jobs whose time has come; the turns to offer."""
    return by_lane(bounded(connection, sql("recovery", "release_due"), [limit]))


def release_for_money(connection: Connection, *, limit: int = 100) -> Turns:
    """Queue the jobs that waited for room under a cap and fit now, at most ``limit`` of a list; the turns to offer."""
    return by_lane(bounded(connection, sql("recovery", "release_for_money"), [limit]))


def release_for_rate(connection: Connection, tenant_id: UUID, waits_for: str, n: int) -> Turns:
    """Queue the first ``n`` of a list that waits for a rate, less those on their way; the turns to offer."""
    return by_lane(
        bounded(
            connection,
            sql("recovery", "release_for_rate"),
            {"tenant_id": tenant_id, "waits_for": waits_for, "n": n},
        )
    )


def release_for_slots(connection: Connection, *, limit: int = 500) -> Turns:
    """Queue the jobs that waited for a slot and find one free, at most ``limit`` of a list; the turns to offer."""
    return by_lane(bounded(connection, sql("recovery", "release_for_slots"), [limit]))


def lend_slots(connection: Connection, *, silent_s: float, turns_per_tenant: int) -> Turns:
    """Lend idle threads to the caps that may be passed, take back what others need; the turns to offer."""
    return by_lane(bounded(connection, sql("recovery", "lend_slots"), [silent_s, turns_per_tenant]))


def drain_wakes(connection: Connection, *, limit: int = 5000) -> Turns:
    """Take the notes that foreign transactions left; the turns to offer."""
    return by_lane(bounded(connection, sql("recovery", "drain_wakes"), [limit]))


def listen(connection: Connection) -> None:
    """Return when Postgres answers and takes writes, as a heartbeat would."""
    bounded(connection, sql("recovery", "listen"), {})


def take_back(connection: Connection, *, silent_s: float, max_deaths: int) -> TakenBack | None:
    """Take one job back from a lost worker, or None when there is none."""
    rows = bounded(connection, sql("recovery", "take_back"), [silent_s, max_deaths])
    return TakenBack(**rows[0]) if rows else None


def expire(connection: Connection, *, limit: int = 500) -> int:
    """End waiting jobs that are past their deadline; how many."""
    (row,) = bounded(connection, sql("recovery", "expire"), [limit])
    return int(row["expired"])


def turns_wanted(connection: Connection, *, turns_per_tenant: int) -> Turns:
    """How many turns each tenant should have on each lane by what is queued now: min(queued, W, free slots
    of its lane's cap).

    Nothing while another sweeper asks: one at a time is enough.
    """
    return by_lane(bounded(connection, sql("recovery", "turns_wanted"), [turns_per_tenant]))


def without_claim(connection: Connection) -> set[tuple[str, UUID]]:
    """(lane, tenant) pairs with queued work of which nothing runs now."""
    rows = bounded(connection, sql("recovery", "without_claim"), {})
    return {(row["lane"], row["tenant_id"]) for row in rows}


@dataclass(frozen=True, slots=True)
class PartitionPass:
    """What a look at the partitions of the months ahead came to.

    ``outcome`` is ``made`` (one was), ``busy`` (a transaction is in the way: try again later), ``taken`` (rows of that
    time lie in the default partition), ``large`` (the default partition is too large to attach one beside it), or None
    when all are there. ``missing`` is how many are still missing.
    """

    outcome: str | None
    missing: int


def ensure_partitions(connection: Connection) -> PartitionPass:
    """Make the earliest partition that is missing. Call it again, in a transaction of its own, while one was made."""
    (row,) = bounded(connection, sql("recovery", "ensure_partitions"), {}, quick=False)
    return PartitionPass(**row)


def analyze_grown(connection: Connection) -> int:
    """Let the planner know of tables that have grown fourfold; how many there were."""
    (row,) = bounded(connection, sql("recovery", "analyze_grown"), {}, quick=False)
    return int(row["analyzed"])


def forget_keys(connection: Connection, *, days: int) -> int:
    """Delete idempotency keys older than ``days``; how many."""
    return connection.execute(sql("recovery", "forget_keys"), [days]).rowcount


def by_lane(rows: Iterable[dict[str, Any]]) -> Turns:
    """Rows of ``tenant_id``, ``lane`` and ``turns`` as turns to offer."""
    found: dict[str, dict[UUID, int]] = defaultdict(dict)
    for row in rows:
        found[row["lane"]][row["tenant_id"]] = row["turns"]
    return found
