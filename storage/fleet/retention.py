"""How long rows are kept, and what deletes them: a batch at a time, each by an index. As headrace_ops.

docs/reference/retention.md has the rule of every table that grows. Jobs, their results and runs, and the rollups are
the books: they are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.fleet.chores import run_bounded

#: Rows that one statement deletes at most.
BATCH: Final = 5000
#: Days that hourly spend is kept. A window reaches back 25 hours, and the audit two days.
BUCKET_DAYS: Final = 3
#: Days that a process is remembered after its last heartbeat.
WORKER_DAYS: Final = 7
#: Days without spend or reservation after which a cap without a limit of its own is forgotten.
CAP_DAYS: Final = 7

CapKey = tuple[UUID, str, str]
"""Tenant, scope and key."""
FIRST_CAP: Final[CapKey] = (UUID(int=0), "", "")


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest row of each table that has a rule, in days; None: there is none."""

    idempotency: float | None
    job_events: float | None
    outbox: float | None
    spend_buckets: float | None
    workers: float | None
    schedulers: float | None


@dataclass(frozen=True, slots=True)
class Books:
    """What is kept for good: the age of the oldest job (None: there is none), and bytes on disk with indexes."""

    oldest_days: float | None
    bytes: int


def forget_keys(connection: Connection, *, days: int, limit: int = BATCH) -> int:
    """Delete idempotency keys older than ``days``; how many."""
    return _gone(run_bounded(connection, sql("fleet/retention", "forget_keys"), {"days": days, "limit": limit}))


def forget_events(connection: Connection, *, days: int, limit: int = BATCH) -> int:
    """Delete what happened to jobs more than ``days`` ago; how many."""
    return _gone(run_bounded(connection, sql("fleet/retention", "forget_events"), {"days": days, "limit": limit}))


def forget_outbox(connection: Connection, *, days: int, limit: int = BATCH) -> int:
    """Delete what was sent, and notices that nobody sends, older than ``days``; how many."""
    return _gone(run_bounded(connection, sql("fleet/retention", "forget_outbox"), {"days": days, "limit": limit}))


def forget_buckets(connection: Connection, *, days: int = BUCKET_DAYS, limit: int = BATCH) -> int:
    """Delete hourly spend older than ``days``; how many."""
    return _gone(run_bounded(connection, sql("fleet/retention", "forget_buckets"), {"days": days, "limit": limit}))


def forget_workers(connection: Connection, *, days: int = WORKER_DAYS, limit: int = BATCH) -> int:
    """Delete workers and schedulers that have been silent for ``days`` and hold no job; how many."""
    return _gone(run_bounded(connection, sql("fleet/retention", "forget_workers"), {"days": days, "limit": limit}))


def forget_caps(
    connection: Connection, after: CapKey = FIRST_CAP, *, days: int = CAP_DAYS, limit: int = BATCH
) -> tuple[int, CapKey | None]:
    """Look at caps after one and delete those that say nothing; how many, and the last one (None: that was all)."""
    tenant_id, scope, key = after
    facts = {"tenant_id": tenant_id, "scope": scope, "key": key, "days": days, "limit": limit}
    (row,) = run_bounded(connection, sql("fleet/retention", "forget_caps"), facts)
    last = None if row["tenant_id"] is None else (row["tenant_id"], row["scope"], row["key"])
    return int(row["gone"]), last


def forget_aside(connection: Connection) -> int:
    """Delete what was set aside and has been done since; how many."""
    return _gone(run_bounded(connection, sql("fleet/retention", "forget_aside"), {}))


def oldest(connection: Connection) -> Oldest:
    """The oldest row of each table that has a rule."""
    row = connection.execute(sql("fleet/retention", "oldest")).fetchone()
    assert row is not None, "a select without a table returns a row"
    return Oldest(**row)


def books(connection: Connection) -> Books:
    """How old and how large the books are."""
    row = connection.execute(sql("fleet/retention", "books")).fetchone()
    assert row is not None, "a select without a table returns a row"
    return Books(**row)


def _gone(rows: list[dict[str, int]]) -> int:
    return int(rows[0]["gone"])
