"""Providers that limit our rate: calls to each are paused for the time that it names.

A 429 is about our use of the provider and not about its health, so a hold is not a breaker: it needs neither failures
in a row nor a probe. When its time is over, calls go on. A 429 holds the tenant whose call met it, because its own
requests may be the reason. If another tenant's call meets a 429 in that time, the provider is held for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from errors import RateLimitHeldError
from router.http.retry_after import LONGEST_WAIT_S

#: The wait where a provider names none, or one shorter than this, s; doubled as long as every answer is a 429.
FIRST_WAIT_S: Final = 1.0
#: The most tenants' holds that are kept; expired ones are dropped first.
_MOST_HOLDS: Final = 4096
#: The longest wait of our own choice, s.
MOST_WAIT_S: Final = 60.0


@dataclass(slots=True)
class _Hold:
    until: float = 0.0
    tenant: str | None = None  # the tenant whose call met the last 429
    next_s: float = FIRST_WAIT_S  # the wait of our own choice


class RateHolds:
    """The holds of this process, by provider, and by provider and tenant. Safe for many threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._holds: dict[tuple[str, str | None], _Hold] = {}
        self._met: dict[str, _Hold] = {}  # the last 429 of each provider

    def limited(self, provider: str, retry_after_s: float | None, *, tenant: str | None = None) -> None:
        """Record that the provider limits our rate, and that it asked for ``retry_after_s`` seconds, if it named a
        time.

        ``tenant``: the tenant of the call; None holds the provider for all. Calls that were under way at the same time
        report the same limit: they do not lengthen a wait of our own choice.
        """
        with self._lock:
            now = self._clock()
            last = self._met.get(provider)
            of_all = tenant is None or (last is not None and last.tenant != tenant and last.until > now)
            hold = self._hold(provider, tenant, now)
            wait_s = min(retry_after_s or 0.0, LONGEST_WAIT_S)
            if wait_s < FIRST_WAIT_S and now >= hold.until:
                wait_s = max(wait_s, hold.next_s)
                hold.next_s = min(2 * hold.next_s, MOST_WAIT_S)
            hold.until = max(hold.until, now + wait_s)
            self._met[provider] = _Hold(hold.until, tenant)
            if of_all:
                everybody = self._hold(provider, None, now)
                everybody.until = max(everybody.until, hold.until)

    def answered(self, provider: str, *, tenant: str | None = None) -> None:
        """Record that the provider answered a call: the next wait of our own choice is a short one again."""
        hold = self._holds.get((provider, tenant))
        if hold is not None and hold.next_s != FIRST_WAIT_S:
            with self._lock:
                hold.next_s = FIRST_WAIT_S

    def wait_s(self, provider: str, *, tenant: str | None = None) -> float:
        """Seconds until the provider may be asked for this tenant, 0.0 for now."""
        holds = [self._holds.get((provider, one)) for one in {tenant, None}]
        until = max((hold.until for hold in holds if hold is not None), default=0.0)
        return max(0.0, until - self._clock())

    def tenants_held(self, provider: str) -> int:
        """The number of tenants whose calls to a provider are held."""
        with self._lock:
            own = [hold for (name, tenant), hold in self._holds.items() if name == provider and tenant is not None]
        return sum(hold.until > self._clock() for hold in own)

    def _hold(self, provider: str, tenant: str | None, now: float) -> _Hold:
        if len(self._holds) >= _MOST_HOLDS:
            live = sorted(self._holds.items(), key=lambda one: one[1].until, reverse=True)[: _MOST_HOLDS // 2]
            self._holds = {key: hold for key, hold in live if hold.until > now}
        return self._holds.setdefault((provider, tenant), _Hold())

    def check(self, provider: str, *, tenant: str | None = None) -> None:
        """Let a call through.

        :raises RateLimitHeldError: not now; ``details`` say after how many seconds (``retry_after_s``).
        """
        wait_s = self.wait_s(provider, tenant=tenant)
        if wait_s > 0:
            raise RateLimitHeldError(
                f"{provider} limits our rate: it may be asked again in {wait_s:.1f} s",
                provider=provider,
                retry_after_s=round(wait_s, 3),
            )
