"""What checking one answer may cost: CPU time of its thread, counted in steps so that the clock is read seldom."""

from __future__ import annotations

import time
from typing import Any, Final

from errors import SchemaTooCostlyError

CPU_S: Final = 0.08
"""CPU seconds for one answer. Checks end within 0.1: what a single step can take beyond it has its own bound."""

DEEPEST_CHECK: Final = 350
"""Checks inside each other: levels of the answer times schemas that hold at one place."""

_STEPS_A_LOOK: Final = 300  # a step is well under a microsecond, reading a thread's clock about a third of one


class CheckBudget:
    """One check's budget, and what it remembers so that it does nothing twice."""

    __slots__ = ("_cpu_s", "_ends_at", "keys", "left", "seen")

    def __init__(self, cpu_s: float = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._ends_at = time.thread_time() + cpu_s
        self.left = _STEPS_A_LOOK
        """Steps before the next look at the clock. Hot loops count it down themselves and call :meth:`look` below 0."""
        self.seen: dict[tuple[int, int], Any] = {}
        """What (schema, value) came to, by identity, for schemas that references lead to."""
        self.keys: dict[int, tuple[Any, int]] = {}
        """Lists and objects as keys that can be compared (``guards.json_equality``), by identity, with their sizes."""

    def spend(self, steps: int) -> None:
        """Count steps that are about to be taken."""
        self.left -= steps
        if self.left < 0:
            self.look()

    def look(self) -> None:
        """Raise :class:`errors.SchemaTooCostlyError` if the time is used up."""
        if time.thread_time() > self._ends_at:
            raise SchemaTooCostlyError(
                f"checking the answer took more than {self._cpu_s:g} s of CPU time",
                hint="Simplify the output schema: fewer alternatives at one place, simpler patterns.",
            )
        self.left = _STEPS_A_LOOK

    def extend(self, cpu_s: float) -> None:
        """Let the check end later, by what something else took meanwhile."""
        self._ends_at += cpu_s

    def too_deep(self) -> SchemaTooCostlyError:
        """The error for checks nested deeper than :data:`DEEPEST_CHECK`."""
        return SchemaTooCostlyError(
            f"checking the answer nests schemas deeper than {DEEPEST_CHECK} levels",
            hint="Let fewer references lead through each other.",
        )
