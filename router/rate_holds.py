"""Providers that limit our rate: each is left alone for the time that it names.

One hold a provider and process. A 429 speaks of our use of the provider and not of its health, so a hold is not a
breaker: it needs neither failures in a row nor a probe. When its time is over, calls go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from errors import RateLimitHeldError
from router.providers.failures import LONGEST_WAIT_S

#: The wait where a provider names none, or one shorter than this, s; doubled as long as it answers nothing else.
FIRST_WAIT_S: Final = 1.0
#: The longest wait that is of our own choice, s.
MOST_WAIT_S: Final = 60.0


@dataclass(slots=True)
class _Hold:
    until: float = 0.0
    next_s: float = FIRST_WAIT_S  # the wait of our own choice


class RateHolds:
    """The holds of this process, by provider. Safe for many threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._holds: dict[str, _Hold] = {}

    def limited(self, provider: str, retry_after_s: float | None) -> None:
        """The provider answered that it limits our rate, and asked for ``retry_after_s`` seconds, if for any.

        Calls that were under way at the same time bring the same news: they do not lengthen a wait of our own choice.
        """
        with self._lock:
            now = self._clock()
            hold = self._holds.setdefault(provider, _Hold())
            wait_s = min(retry_after_s or 0.0, LONGEST_WAIT_S)
            if wait_s < FIRST_WAIT_S and now >= hold.until:
                wait_s = max(wait_s, hold.next_s)
                hold.next_s = min(2 * hold.next_s, MOST_WAIT_S)
            hold.until = max(hold.until, now + wait_s)

    def answered(self, provider: str) -> None:
        """The provider answered a call: the next wait of our own choice is a short one again."""
        hold = self._holds.get(provider)
        if hold is not None and hold.next_s != FIRST_WAIT_S:
            with self._lock:
                hold.next_s = FIRST_WAIT_S

    def wait_s(self, provider: str) -> float:
        """Seconds until the provider may be asked, 0.0 for now."""
        hold = self._holds.get(provider)
        return 0.0 if hold is None else max(0.0, hold.until - self._clock())

    def check(self, provider: str) -> None:
        """Let a call through.

        :raises RateLimitHeldError: not now; ``details`` say after how many seconds (``retry_after_s``).
        """
        wait_s = self.wait_s(provider)
        if wait_s > 0:
            raise RateLimitHeldError(
                f"{provider} limits our rate: it may be asked again in {wait_s:.1f} s",
                provider=provider,
                retry_after_s=round(wait_s, 3),
            )
