"""How the whole platform does, in figures that are cheap to ask for every few seconds. As headrace_ops.

Everything is read by index seeks, and what could be a million rows is counted up to a bound: a figure that says "more
than enough" is as good as the exact one for an alarm and for a scaler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.fleet import chores as notes
from storage.fleet.chores import ChoreState

MOST_RUNNABLE: Final = 20_000
"""So many runnable jobs are looked at in all, shared out evenly over tenants and lanes."""
LEAST_OF_EACH: Final = 10
"""So many of each tenant and lane are looked at anyway."""
MOST_WAITING: Final = 10_000
"""Waiting jobs are counted up to so many that wait for a time, and so many that wait for room."""
MOST_RECENT: Final = 10_000
RECENT_S: Final = 900
"""Endings are counted of the newest jobs that came in within so many seconds, up to the bound."""
MOST_SET_ASIDE: Final = 1000
"""What chores have set aside is counted up to so many."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What could run on a lane, and the longest that the next job of any tenant has waited, s."""

    lane: str
    runnable: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """Live worker processes, the threads of those that take work, and live schedulers.

    ``oldest_heartbeat_s``: since the last heartbeat of the worker heard of longest ago. ``behind_s``: for how long
    something has been due, or noted, that a scheduler should have done.
    """

    working: int
    draining: int
    threads: int
    oldest_heartbeat_s: float
    schedulers: int
    behind_s: float


@dataclass(frozen=True, slots=True)
class CallCounts:
    """Settled calls of this UTC day and their cost, USD."""

    provider: str
    model: str
    succeeded: int
    failed: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures of one moment. The mappings go from lane, reason and outcome to how many jobs."""

    fleet: FleetCounts
    lanes: Sequence[Lane]
    running: Mapping[str, int]
    waiting: Mapping[str, int]
    ended: Mapping[str, int]
    calls: Sequence[CallCounts]
    chores: Sequence[ChoreState]
    set_aside: int

    @property
    def load(self) -> float:
        """(running + runnable) / capacity; with no capacity, as if there were one thread.

        What waits for a time, a budget, a rate or a provider is no part of it: more workers would not make it run.
        """
        wanted = sum(self.running.values()) + sum(lane.runnable for lane in self.lanes)
        return wanted / max(self.fleet.threads, 1)


def snapshot(connection: Connection, *, silent_s: float) -> Snapshot:
    """The figures as they are now. ``silent_s``: after so much silence a worker counts as gone."""
    with connection.transaction():
        return Snapshot(
            fleet=fleet(connection, silent_s=silent_s),
            lanes=runnable(connection),
            running=running(connection),
            waiting=waiting(connection),
            ended=ended(connection),
            calls=calls(connection),
            chores=notes.list_chores(connection),
            set_aside=len(notes.aside(connection, limit=MOST_SET_ASIDE)),
        )


def fleet(connection: Connection, *, silent_s: float) -> FleetCounts:
    """The live workers, and how late the scheduler is."""
    row = connection.execute(sql("fleet/metrics", "fleet"), {"silent_s": silent_s}).fetchone()
    assert row is not None, "an aggregate returns a row"
    return FleetCounts(**{**row, "behind_s": max(row["behind_s"], 0.0)})


def runnable(connection: Connection) -> list[Lane]:
    """What could run, by lane."""
    facts = {"most": MOST_RUNNABLE, "of_each": LEAST_OF_EACH}
    return [Lane(**row) for row in connection.execute(sql("fleet/metrics", "runnable"), facts).fetchall()]


def running(connection: Connection) -> dict[str, int]:
    """How many jobs run, by lane."""
    return {row["lane"]: row["running"] for row in connection.execute(sql("fleet/metrics", "running")).fetchall()}


def waiting(connection: Connection) -> dict[str, int]:
    """How many jobs are scheduled, by reason."""
    rows = connection.execute(sql("fleet/metrics", "waiting"), {"most": MOST_WAITING}).fetchall()
    return {row["reason"]: row["jobs"] for row in rows}


def ended(connection: Connection) -> dict[str, int]:
    """How the newest jobs ended, by outcome."""
    rows = connection.execute(sql("fleet/metrics", "ended"), {"window_s": RECENT_S, "most": MOST_RECENT}).fetchall()
    return {row["outcome"]: row["jobs"] for row in rows}


def calls(connection: Connection) -> list[CallCounts]:
    """The calls of this UTC day, by provider and model."""
    return [CallCounts(**row) for row in connection.execute(sql("fleet/metrics", "calls")).fetchall()]
