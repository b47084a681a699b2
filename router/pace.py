"""The fastest answer of each model in this process, which shows that a call cannot end in time.

A call that is cut off by its job's own deadline is paid for and brings no answer. If the deadline leaves less time than
the fastest answer took that this process has seen, the call is not made.
"""

from __future__ import annotations

import math
import time

from router.policy import Target

#: A deadline that leaves a call this much time is never hopeless, s, however slow all answers were so far. So slow jobs
#: of one tenant do not prevent a quick job of another. Small models answer in 0.3 s at best.
ALWAYS_A_CHANCE_S = 0.3
#: The number of answers after which the fastest of them is taken for a bound.
_ENOUGH = 20


class Pace:
    """The fastest answer of each model. Safe for many threads: a lost update costs one measurement."""

    def __init__(self) -> None:
        self._fastest: dict[Target, float] = {}
        self._seen: dict[Target, int] = {}
        self._last: dict[Target, float] = {}

    def answered(self, target: Target, took_s: float) -> None:
        """Remember how long an answer took, in seconds."""
        self._seen[target] = self._seen.get(target, 0) + 1
        self._last[target] = time.monotonic()
        self._fastest[target] = min(took_s, self._fastest.get(target, took_s))

    def since_s(self, target: Target) -> float:
        """Seconds since the target answered last; infinite when it never has."""
        last = self._last.get(target)
        return math.inf if last is None else time.monotonic() - last

    def least_s(self, target: Target) -> float:
        """The seconds below which no answer can be expected; 0.0 as long as too little is known."""
        if self._seen.get(target, 0) < _ENOUGH:
            return 0.0
        return min(self._fastest[target], ALWAYS_A_CHANCE_S)
