"""The budget for checking one answer: CPU time of its thread, counted in steps so that the clock is rarely read."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

import forks
from errors import SchemaTooCostlyError

CPU_S: Final = 0.08
"""CPU seconds for one answer. Checks end within 0.1 s: what a single step can take beyond it has its own bound."""

DEEPEST_CHECK: Final = 350
"""Nested checks: levels of the answer times schemas that apply at one place."""

#: A check that has taken this long continues exclusively, CPU seconds.
LONG_S: Final = 0.005

_STEPS_A_LOOK: Final = 300  # a step is well under a microsecond, reading a thread's clock about a third of one


class _Line:
    """The long checks of this process, one at a time.

    Running together would not finish them sooner, because there is one interpreter. Each of sixteen computing threads
    would make every step of every other job wait for its time slice.
    """

    def __init__(self) -> None:
        self.renew_in_child()
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        self.lock = threading.Lock()


LINE: Final = _Line()


class CheckBudget:
    """One check's budget, and the results that it remembers so that it does nothing twice.

    Enter it for a check that may take long: from :data:`LONG_S` on it is the only long check in this process, until the
    block is left.
    """

    __slots__ = ("_alone_at", "_cpu_s", "_ends_at", "_holds", "keys", "left", "seen")

    def __init__(self, cpu_s: float = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._ends_at = time.thread_time() + cpu_s
        self._alone_at = math.inf
        self._holds: threading.Lock | None = None
        self.left = _STEPS_A_LOOK
        """Steps before the next look at the clock. Hot loops count it down themselves and call :meth:`look` below 0."""
        self.seen: dict[tuple[int, int], Any] = {}
        """The results of (schema, value) pairs, by identity, for schemas that references lead to."""
        self.keys: dict[int, tuple[Any, int]] = {}
        """Lists and objects as keys that can be compared (``guards.json_equality``), by identity, with their sizes."""

    def __enter__(self) -> Self:
        self._alone_at = time.thread_time() + LONG_S
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._alone_at = math.inf
        if self._holds is not None:
            self._holds.release()
            self._holds = None

    def spend(self, steps: int) -> None:
        """Count steps that are about to be taken."""
        self.left -= steps
        if self.left < 0:
            self.look()

    def look(self) -> None:
        """Raise :class:`errors.SchemaTooCostlyError` if the time is used up."""
        now_s = time.thread_time()
        if now_s > self._ends_at:
            raise SchemaTooCostlyError(
                f"checking the answer took more than {self._cpu_s:g} s of CPU time",
                hint="Simplify the output schema: fewer alternatives at one place, simpler patterns.",
            )
        self.left = _STEPS_A_LOOK
        if now_s > self._alone_at:
            self._alone_at = math.inf
            self._holds = LINE.lock
            self._holds.acquire()

    def extend(self, cpu_s: float) -> None:
        """Extend the check's time by the time that something else took meanwhile."""
        self._ends_at += cpu_s

    def too_deep(self) -> SchemaTooCostlyError:
        """The error for checks nested deeper than :data:`DEEPEST_CHECK`."""
        return SchemaTooCostlyError(
            f"checking the answer nests schemas deeper than {DEEPEST_CHECK} levels",
            hint="Use fewer nested references.",
        )
