"""What ``headrace doctor`` asks of Postgres."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from storage.db.connect import Connection
from storage.db.statements import sql

MOST_RECENT = 10_000
"""So many of the newest calls are looked at,"""
MOST_HELD = 10_000
"""and so many of the jobs that wait for a time."""
_LOOKS_EVERY_S = 0.05
_ROUND_TRIPS = 5


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One connection: the server's version (``180006`` and as text), the role and what it may do, its clock."""

    version_number: int
    version: str
    role: str
    superuser: bool
    bypasses_row_security: bool
    operator: bool  # a member of headrace_ops: sees every tenant
    owner: bool  # a member of headrace_owner: may migrate
    vector_version: str | None
    clock: datetime


@dataclass(frozen=True, slots=True)
class LiveJobs:
    """Live jobs by state, and for how long the oldest has been queued (s)."""

    queued: int
    scheduled: int
    running: int
    oldest_queued_s: float | None


@dataclass(frozen=True, slots=True)
class Calendar:
    """Whole months after this one that have their partitions (six at most), and bytes in the default partitions."""

    months_ahead: int
    default_bytes: int


@dataclass(frozen=True, slots=True)
class RecentCalls:
    """Recent calls of one provider that came to the same: ``status`` as in `runs`, and the error's code, if any."""

    provider: str
    status: str
    error_code: str | None
    calls: int
    last_s_ago: float


@dataclass(frozen=True, slots=True)
class HeldJobs:
    """Jobs that wait for providers for one reason, and the longest that one of them has waited, s (None: unknown)."""

    reason: str
    jobs: int
    longest_s: float | None


def server(connection: Connection) -> ServerFacts:
    """What this connection is and where it leads."""
    row = connection.execute(sql("fleet/health", "server")).fetchone()
    assert row is not None, "a role is always in pg_roles"
    return ServerFacts(**row)


def takes_writes(connection: Connection) -> bool:
    """Whether this connection leads to a server that takes writes: not to a standby, nor to one that is read-only."""
    row = connection.execute(sql("fleet/health", "takes_writes")).fetchone()
    assert row is not None, "a select without a table returns a row"
    return bool(row["yes"])


def round_trip_s(connection: Connection) -> float:
    """The shortest of some round trips, s."""
    taken = []
    for _ in range(_ROUND_TRIPS):
        started = time.monotonic()
        connection.execute("select 1").fetchone()
        taken.append(time.monotonic() - started)
    return min(taken)


def backlog(connection: Connection) -> LiveJobs:
    """Live jobs of all tenants, as headrace_ops."""
    row = connection.execute(sql("fleet/health", "backlog")).fetchone()
    assert row is not None, "an aggregate returns a row"
    return LiveJobs(**row)


def calendar(connection: Connection) -> Calendar:
    """How far ahead the partitions of `jobs` and `runs` are made, as headrace_ops."""
    row = connection.execute(sql("fleet/health", "calendar")).fetchone()
    assert row is not None, "an aggregate returns a row"
    return Calendar(**row)


def recent_calls(connection: Connection, *, window_s: float) -> list[RecentCalls]:
    """The platform's own calls of the last ``window_s`` seconds, as headrace_ops."""
    facts = {"window_s": window_s, "most": MOST_RECENT}
    return [RecentCalls(**row) for row in connection.execute(sql("fleet/health", "recent_calls"), facts).fetchall()]


def held(connection: Connection) -> list[HeldJobs]:
    """The jobs that wait for providers, by reason, as headrace_ops."""
    return [HeldJobs(**row) for row in connection.execute(sql("fleet/health", "held"), {"most": MOST_HELD}).fetchall()]


def unpriced(connection: Connection, models: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the (provider, model) pairs that have no price in force."""
    wanted = [{"provider": provider, "model": model} for provider, model in models]
    rows = connection.execute(sql("fleet/health", "unpriced"), [Jsonb(wanted)]).fetchall()
    return [(row["provider"], row["model"]) for row in rows]


def scheduler_answers(connection: Connection, *, within_s: float) -> bool:
    """Whether a scheduler takes a note that is left for it (they look every 200 ms). As headrace_ops.

    A heartbeat says that a process lives, and this that it does its work.
    """
    note = leave_note(connection)
    give_up = time.monotonic() + within_s
    try:
        while note_is_there(connection, note):
            if time.monotonic() >= give_up:
                return False
            time.sleep(_LOOKS_EVERY_S)
        return True
    finally:
        take_note_away(connection, note)


def leave_note(connection: Connection) -> int:
    """Leave a note for the scheduler that leads to nothing; its id."""
    row = connection.execute(sql("fleet/health", "leave_note")).fetchone()
    assert row is not None, "the statement returns the id"
    return int(row["id"])


def note_is_there(connection: Connection, note: int) -> bool:
    """Whether no scheduler has taken the note yet."""
    row = connection.execute(sql("fleet/health", "note_is_there"), [note]).fetchone()
    return bool(row and row["there"])


def take_note_away(connection: Connection, note: int) -> None:
    """Remove the note, if it is still there."""
    connection.execute(sql("fleet/health", "take_note_away"), [note])
