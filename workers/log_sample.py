"""Which lines of an event are written when there are many: an outage must not flood the log.

In each second a process writes so many lines of an event, each of another tenant, and a few more besides. So however
much one tenant fails, the first failure of another has its line. What was not written is counted and told.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

#: Lines of an event in a second that are the first of their tenant in it,
FIRST_LINES: Final = 20
#: and lines of tenants that have had one in that second.
FURTHER_LINES: Final = 5
#: How often it is told how many were not written, s.
TOLD_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Suppressed:
    """So many lines of an event were not written in so many seconds."""

    event: str
    lines: int
    within_s: float


class LogSample:
    """The sample of a process. Safe for many threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._events: dict[str, _Event] = {}

    def lets(self, event: str, tenant: str) -> bool:
        """Whether a line of this event, about this tenant, is to be written. A ``False`` is counted."""
        with self._lock:
            now = self._clock()
            one = self._events.setdefault(event, _Event())
            if math.floor(now) != one.second:
                one.second, one.further = math.floor(now), 0
                one.tenants.clear()
            if tenant in one.tenants and one.further < FURTHER_LINES:
                one.further += 1
                return True
            if tenant not in one.tenants and len(one.tenants) < FIRST_LINES:
                one.tenants.add(tenant)
                return True
            one.since = now if one.suppressed == 0 else one.since
            one.suppressed += 1
            return False

    def suppressed(self, *, last: bool = False) -> list[Suppressed]:
        """What was not written and is due to be told; all of it at the ``last`` time. The count begins anew."""
        with self._lock:
            now = self._clock()
            due = []
            for event, one in self._events.items():
                if one.suppressed and (last or now - one.since >= TOLD_EVERY_S):
                    due.append(Suppressed(event, one.suppressed, round(now - one.since, 1)))
                    one.suppressed = 0
            return due


@dataclass(slots=True)
class _Event:
    second: int | None = None
    tenants: set[str] = field(default_factory=set)  # with a line in this second
    further: int = 0
    suppressed: int = 0
    since: float = 0.0
