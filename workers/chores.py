"""Chores: work that is done again and again, in loops that outlive every failure of it.

A loop has a thread of its own, so slow chores never stand before quick ones. Whatever a chore raises is logged and
noted (``headrace doctor`` and ``headrace metrics`` read the notes), and the loop goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from errors import CutOffError, ServiceError

#: The longest that a chore is put off after failing again and again, s.
LONGEST_PAUSE_S: Final = 5.0
#: How often it is noted that a chore got through, s.
NOTED_EVERY_S: Final = 10.0
#: The shortest time between two passes of one chore, s.
LEAST_PAUSE_S: Final = 0.02
#: The same where a pass is asked for, s: however often that happens, a chore does not spin.
LEAST_PAUSE_WHEN_ASKED_S: Final = 0.005

log = structlog.get_logger("headrace.scheduler")


class Notebook(Protocol):
    """Where it is noted how chores do. Nothing that it does may raise because of a service that is away."""

    def got_through(self, chores: Sequence[Chore]) -> None:
        """These chores got through since the last note."""

    def failed(self, chore: Chore, error: Exception) -> None:
        """A pass of this chore ended with an error that was not expected."""


@dataclass(slots=True)
class Chore:
    """Something done again and again: every ``every_s`` seconds.

    ``step`` returns True when more of its work waits. Then the next pass comes after a pause as long as this pass was,
    so that a backlog takes half of one connection at most.
    """

    name: str
    every_s: float
    step: Callable[[], object]
    on_request: bool = False  # :meth:`ChoreLoop.ask` brings its next pass forward
    due_at: float = field(default=0.0)
    not_before: float = field(default=0.0)  # even when asked for
    failed_passes: int = field(default=0)  # one after the other
    went_well: bool = field(default=False)  # since the last note


class ChoreLoop:
    """Does some chores when they are due, one after the other, until it is told to stop."""

    def __init__(self, name: str, chores: Sequence[Chore], notebook: Notebook) -> None:
        self.name = name
        self.chores = chores
        self._notebook = notebook
        self._noted_at = time.monotonic()
        self._asked = threading.Event()

    def ask(self) -> None:
        """Have the chores that are done on request done soon; any thread may ask. A chore that fails keeps its pause.

        A loop that has been told to stop notices it at once.
        """
        self._asked.set()

    def run(self, stopping: threading.Event) -> None:
        """For a thread of its own. It raises nothing. After ``stopping`` was set, :meth:`ask` ends the pause."""
        while not stopping.is_set():
            for chore in self.chores:
                if chore.due_at <= time.monotonic() and not stopping.is_set():
                    self._pass(chore)
            self._note()
            if self._asked.wait(max(0.0, min(chore.due_at for chore in self.chores) - time.monotonic())):
                self._asked.clear()
                for chore in self.chores:
                    if chore.on_request:
                        chore.due_at = min(chore.due_at, chore.not_before)

    def _pass(self, chore: Chore) -> None:
        began = time.monotonic()
        pause_s = chore.every_s
        may_be_asked = False
        try:
            more = chore.step()
        except CutOffError as error:  # the next pass is smaller or goes on elsewhere, so it comes in its time
            log.warning("scheduler.chore_cut_off", chore=chore.name, error=str(error))
            self._notebook.failed(chore, error)
        except ServiceError as error:
            log.warning("scheduler.chore_failed", chore=chore.name, error=str(error))
        except Exception as error:  # the outermost loop: a bug, or a row that nobody foresaw, must not end the others
            log.exception("scheduler.chore_fault", chore=chore.name)
            self._failed(chore, error)
        else:
            chore.failed_passes = 0
            chore.went_well = may_be_asked = True
            if more is True:
                pause_s = min(chore.every_s, max(time.monotonic() - began, LEAST_PAUSE_S))
        if chore.failed_passes:
            again_s = max(chore.every_s, LONGEST_PAUSE_S)
            pause_s = min(chore.every_s * 2.0 ** min(chore.failed_passes, 16), again_s)
        chore.due_at = time.monotonic() + pause_s
        chore.not_before = time.monotonic() + LEAST_PAUSE_WHEN_ASKED_S if may_be_asked else chore.due_at

    def _failed(self, chore: Chore, error: Exception) -> None:
        chore.failed_passes += 1
        self._notebook.failed(chore, error)

    def _note(self) -> None:
        if time.monotonic() - self._noted_at < NOTED_EVERY_S:
            return
        self._noted_at = time.monotonic()
        done = [chore for chore in self.chores if chore.went_well]
        if done:
            self._notebook.got_through(done)
            for chore in done:
                chore.went_well = False
