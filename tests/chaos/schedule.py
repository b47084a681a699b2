"""What goes wrong and when: a seed dealt into a list of timed actions. Pure: no clock, no process, no service.

The kinds are dealt like cards: each once before any comes twice, so that a long schedule has them all. A longer
schedule of the same seed begins with the shorter one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

WORKERS = ("worker-1", "worker-2", "worker-3")
SCHEDULERS = ("scheduler-1", "scheduler-2")

GAP_S = (0.3, 2.1)
"""Least and most time between two actions, s. Many last longer than that, so faults overlap."""


class Kind(StrEnum):
    """What can be done to a running system."""

    KILL_WORKER = "kill_worker"  # SIGKILL; another one starts after `lasts_s`
    FREEZE_WORKER = "freeze_worker"  # SIGSTOP past the silence limit, then SIGCONT: a zombie
    DRAIN_WORKER = "drain_worker"  # SIGTERM; another one starts when it has ended
    KILL_SCHEDULER = "kill_scheduler"
    FREEZE_SCHEDULER = "freeze_scheduler"  # SIGSTOP wherever it is, then SIGCONT
    FREEZE_AT_WIRE = "freeze_at_wire"  # SIGSTOP of a scheduler in the middle of a sweep, then SIGCONT
    WIPE_WIRE = "wipe_wire"  # FLUSHALL
    KILL_WIRE = "kill_wire"  # SIGKILL of Valkey
    FILL_WIRE = "fill_wire"  # maxmemory reached: it reads, but refuses writes
    FREEZE_WIRE = "freeze_wire"  # SIGSTOP of Valkey, then SIGCONT: a partition
    CRASH_POSTGRES = "crash_postgres"  # an immediate shutdown: no checkpoint, recovery at the next start
    FREEZE_POSTGRES = "freeze_postgres"  # SIGSTOP of all its processes, then SIGCONT: it hangs, and then goes on
    KILL_BACKEND = "kill_backend"  # SIGKILL of one session's process, for which Postgres restarts all of them
    CUT_CONNECTIONS = "cut_connections"  # pg_terminate_backend of every session
    FAULTY_PROVIDER = "faulty_provider"  # one of FAULTS, at one provider or both


FAULTS = ("429", "500", "529", "hang", "cut", "malformed", "drip", "auth")
"""What the simulator can do wrong."""

CARDS: tuple[tuple[Kind, str], ...] = (
    *((kind, "") for kind in Kind if kind is not Kind.FAULTY_PROVIDER),
    *((Kind.FAULTY_PROVIDER, fault) for fault in FAULTS),
)
"""Every kind of action, and the faulty provider once for each fault."""

_LASTS_S: dict[Kind, tuple[float, float]] = {
    Kind.KILL_WORKER: (0.0, 1.5),
    Kind.FREEZE_WORKER: (2.1, 3.4),  # and on until its jobs were reclaimed, so that it wakes as a zombie
    Kind.KILL_SCHEDULER: (0.0, 2.0),
    Kind.FREEZE_SCHEDULER: (1.0, 4.0),
    Kind.FREEZE_AT_WIRE: (2.0, 4.0),
    Kind.FILL_WIRE: (1.0, 4.0),
    Kind.FREEZE_WIRE: (1.0, 8.0),
    Kind.FREEZE_POSTGRES: (1.0, 5.0),
    Kind.FAULTY_PROVIDER: (1.0, 4.0),
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that goes wrong. Times in seconds from the start of the schedule.

    ``target`` is a process's or a provider's name (or ``both``) where the kind has one; ``draw`` settles what can
    only be chosen on the spot, such as which of the sessions that there are.
    """

    at_s: float
    kind: Kind
    target: str
    lasts_s: float
    fault: str
    rate: float  # the share of the calls that a faulty provider spoils
    draw: float  # at least 0, less than 1

    def __str__(self) -> str:
        parts = [f"{self.at_s:5.1f} s", self.kind.value, self.target]
        if self.fault:
            parts.append(f"{self.fault} at {self.rate:g}")
        if self.lasts_s:
            parts.append(f"for {self.lasts_s:.1f} s")
        return " ".join(part for part in parts if part)


def deal(seed: int, *, seconds: float) -> list[Action]:
    """The schedule of a seed: every action that begins within ``seconds``."""
    dice = random.Random(f"chaos {seed}")
    actions = []
    at_s = 0.0
    for kind, fault in _cards(dice):
        at_s = round(at_s + dice.uniform(*GAP_S), 3)
        action = Action(
            at_s=at_s,
            kind=kind,
            target=_target(dice, kind),
            lasts_s=round(dice.uniform(*_LASTS_S.get(kind, (0.0, 0.0))), 3),
            fault=fault,
            rate=dice.choice((0.3, 0.6, 1.0)),
            draw=dice.random(),
        )
        if at_s > seconds:
            break
        actions.append(action)
    return actions


def _cards(dice: random.Random) -> Iterator[tuple[Kind, str]]:
    while True:
        yield from dice.sample(CARDS, len(CARDS))


def _target(dice: random.Random, kind: Kind) -> str:
    worker, scheduler = dice.choice(WORKERS), dice.choice(SCHEDULERS)
    provider = dice.choice(("openai", "anthropic", "both"))
    match kind:
        case Kind.KILL_WORKER | Kind.FREEZE_WORKER | Kind.DRAIN_WORKER:
            return worker
        case Kind.KILL_SCHEDULER | Kind.FREEZE_SCHEDULER | Kind.FREEZE_AT_WIRE:
            return scheduler
        case Kind.FAULTY_PROVIDER:
            return provider
        case _:
            return ""
