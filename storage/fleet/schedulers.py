"""Scheduler processes as the database knows them: one row for each start of a process. As headrace_ops."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.fleet.chores import run_bounded

#: Why a scheduler finds notes, where signals reach it.
BY_SIGNAL: Final = "signal"
#: Schedulers that are listed at most.
MOST_LISTED: Final = 50


@dataclass(frozen=True, slots=True)
class SchedulerProcess:
    """One scheduler that has not said that it stops. ``silent_s``: since its last heartbeat.

    ``woken_by``: ``signal``, or why notes are found by its looks alone (see :class:`storage.fleet.wake_signals.Unfit`).
    """

    host: str
    pid: int
    started_at: datetime
    woken_by: str
    silent_s: float


def heartbeat(connection: Connection, scheduler_id: UUID, *, host: str, pid: int, woken_by: str) -> None:
    """Say that this process lives (the first beat registers it)."""
    facts = {"id": scheduler_id, "host": host, "pid": pid, "woken_by": woken_by}
    run_bounded(connection, sql("fleet/schedulers", "heartbeat"), facts)


def stopped(connection: Connection, scheduler_id: UUID) -> None:
    """Say that this process has ended."""
    run_bounded(connection, sql("fleet/schedulers", "stopped"), {"id": scheduler_id})


def list_schedulers(connection: Connection) -> list[SchedulerProcess]:
    """Schedulers that have not said that they stop, the one heard of last first."""
    rows = connection.execute(sql("fleet/schedulers", "list"), {"most": MOST_LISTED}).fetchall()
    return [SchedulerProcess(**row) for row in rows]
