"""Cancel or retry all chosen jobs: count them first, then work chunk by chunk.

A chunk is one transaction of some jobs, so a worker, an enqueue or a chore waits for milliseconds at most. Both
commands can be stopped and started again: a cancelled job stays cancelled, and a job is retried once.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

from console.bulk.choice import WITHIN_S, Choice
from console.terminal.interrupt import Stop
from errors import HeadraceError, ServiceError, UnknownLaneError
from queues.turns import Wire
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from storage.jobs.jobs import Repeated, State
from storage.jobs.selection import SelectedJob

CHUNK: Final = 100
"""Jobs per transaction."""

CANCELLABLE: Final = (State.SCHEDULED, State.QUEUED, State.RUNNING)
REPEATABLE: Final = (State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED)

T = TypeVar("T")


@dataclass(slots=True)
class Preview:
    """How many jobs of which state a command would change. ``left_out``: ids of a file that the filters exclude."""

    states: Counter[State] = field(default_factory=Counter)
    unknown: int = 0
    left_out: int = 0

    @property
    def count(self) -> int:
        """The number of jobs that would be changed."""
        return self.states.total()


def preview(database: Database, choice: Choice) -> Preview:
    """Count the chosen jobs and change nothing."""
    seen = Preview()
    for portion in choice.portions(database):
        seen.states.update(one.state for one in portion.found)
        seen.unknown += len(portion.unknown)
        seen.left_out += portion.left_out
    return seen


@dataclass(slots=True)
class BulkChange:
    """How far a change came: the number of jobs that were handled, and how many of them had which outcome."""

    dealt: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False
    error: HeadraceError | None = None  # the error or signal that stopped the change


def cancel(database: Database, choice: Choice, *, by: str) -> BulkChange:
    """Cancel the chosen jobs. Outcomes: ``cancelled``, ``cancelling`` (the job is running), or the ending that the job
    already had.
    """

    def step(found: Sequence[SelectedJob]) -> Counter[str]:
        said = database.retry_until_answered(
            lambda connection: jobs.cancel_free(
                connection, [one.tenant_id for one in found], [one.id for one in found], by=by
            ),
            within_s=WITHIN_S,
        )
        for one in found:
            if one.id not in said:  # a worker was running the job
                said[one.id] = database.retry_until_answered(
                    lambda connection, one=one: jobs.cancel(connection, one.tenant_id, one.id, by=by),  # type: ignore[misc]
                    within_s=WITHIN_S,
                )
        return Counter(outcome for outcome in said.values() if outcome is not None)

    return _each(database, choice, step)


def run_again(
    database: Database, choice: Choice, wire: Wire, told: Callable[[Sequence[Repeated]], None], *, by: str
) -> BulkChange:
    """Retry the chosen jobs, each once; ``told`` is called after each committed chunk.

    Outcomes: ``asked_again``, ``already`` (the job was retried before), ``not_possible`` (its state changed meanwhile).
    """

    def step(found: Sequence[SelectedJob]) -> Counter[str]:
        ids = [new_id() for _ in found]  # the ids are made here, so that the step is safe to repeat
        done = database.retry_until_answered(
            lambda connection: jobs.run_many_again(
                connection, [one.tenant_id for one in found], [one.id for one in found], ids, by=by
            ),
            within_s=WITHIN_S,
        )
        _offer(wire, done)
        told(done)
        new = sum(one.created for one in done)
        return +Counter(asked_again=new, already=len(done) - new, not_possible=len(found) - len(done))

    return _each(database, choice, step)


def _each(database: Database, choice: Choice, step: Callable[[Sequence[SelectedJob]], Counter[str]]) -> BulkChange:
    done = BulkChange()
    try:
        with Stop() as stop:
            for portion in choice.portions(database):
                for found in _chunks(portion.found):
                    with stop.step():
                        done.outcomes.update(step(found))
                        done.dealt += len(found)
    except KeyboardInterrupt:
        done.interrupted = True
    except HeadraceError as error:
        done.error = error
    return done


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), CHUNK):
        yield items[at : at + CHUNK]


def _offer(wire: Wire, done: Sequence[Repeated]) -> None:
    """Offer turns for what is queued now. They are hints: the sweep makes up for a lost one within a second."""
    turns: Counter[tuple[UUID, str]] = Counter((one.tenant_id, one.lane) for one in done if one.created)
    for (tenant_id, lane), n in turns.items():
        with contextlib.suppress(ServiceError, UnknownLaneError):
            wire.offer(lane, str(tenant_id), n if wire.counts else 1)
