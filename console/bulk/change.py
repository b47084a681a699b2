"""Cancel or ask anew all jobs that are meant: first how many there are, then chunk by chunk.

A chunk is one transaction of some jobs, so a worker, an enqueue or a chore waits for milliseconds at most. Both can be
stopped and started again: what was cancelled is cancelled, and a job is asked anew once.
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
"""Jobs a transaction."""

CANCELLABLE: Final = (State.SCHEDULED, State.QUEUED, State.RUNNING)
REPEATABLE: Final = (State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED)

T = TypeVar("T")


@dataclass(slots=True)
class Preview:
    """How many jobs of which state a command would change. ``left_out``: of a file's ids, by the filters."""

    states: Counter[State] = field(default_factory=Counter)
    unknown: int = 0
    left_out: int = 0

    @property
    def count(self) -> int:
        """All that would be changed."""
        return self.states.total()


def preview(database: Database, choice: Choice) -> Preview:
    """Look at the jobs that are meant and change nothing."""
    seen = Preview()
    for portion in choice.portions(database):
        seen.states.update(one.state for one in portion.found)
        seen.unknown += len(portion.unknown)
        seen.left_out += portion.left_out
    return seen


@dataclass(slots=True)
class BulkChange:
    """How far a change came: how many jobs were dealt with, and what became of how many of them."""

    dealt: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False
    error: HeadraceError | None = None  # what stopped it half-way


def cancel(database: Database, choice: Choice, *, by: str) -> BulkChange:
    """Cancel the jobs that are meant. Outcomes: ``cancelled``, ``cancelling`` (it runs), or the ending that it had."""

    def step(found: Sequence[SelectedJob]) -> Counter[str]:
        said = database.patiently(
            lambda connection, _repeat: jobs.cancel_free(
                connection, [one.tenant_id for one in found], [one.id for one in found], by=by
            ),
            within_s=WITHIN_S,
        )
        for one in found:
            if one.id not in said:  # a worker had it in its hands
                said[one.id] = database.patiently(
                    lambda connection, _repeat, one=one: jobs.cancel(connection, one.tenant_id, one.id, by=by),  # type: ignore[misc]
                    within_s=WITHIN_S,
                )
        return Counter(outcome for outcome in said.values() if outcome is not None)

    return _each(database, choice, step)


def run_again(
    database: Database, choice: Choice, wire: Wire, told: Callable[[Sequence[Repeated]], None], *, by: str
) -> BulkChange:
    """Ask the jobs that are meant anew, each once; ``told`` hears of each chunk when it is in.

    Outcomes: ``asked_again``, ``already`` (the job was asked again before), ``not_possible`` (it was so meanwhile).
    """

    def step(found: Sequence[SelectedJob]) -> Counter[str]:
        ids = [new_id() for _ in found]  # made here, so that the step is safe to repeat
        done = database.patiently(
            lambda connection, _repeat: jobs.run_many_again(
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
    """Turns for what is queued now: hints, which the sweep makes up for within a second."""
    turns: Counter[tuple[UUID, str]] = Counter((one.tenant_id, one.lane) for one in done if one.created)
    for (tenant_id, lane), n in turns.items():
        with contextlib.suppress(ServiceError, UnknownLaneError):
            wire.offer(lane, str(tenant_id), n if wire.counts else 1)
