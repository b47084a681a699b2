"""A breaker for each provider: after failures in a row it is left alone for a while, then one call probes it.

The counting and the states are ``pybreaker``'s. Its ``call()`` holds a lock for as long as the guarded call lasts,
which would serialise all calls to a provider, and its ``calling()`` counts every exception that is no failure as a
success and lets every caller through when half-open. So a call here runs outside of ``pybreaker``: it is admitted
first, and what it showed about the provider's health is reported afterwards, in an instant.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pybreaker

from errors import (
    BreakerOpenError,
    ProviderAnswerLostError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)

# What speaks of the provider's health; a timeout and a malformed answer are lost answers too. Refusals and rate limits
# speak of the request or of our use: they neither open a breaker nor heal one.
_FAILURES = (ProviderUnavailableError, ProviderUnreachableError, ProviderAnswerLostError)

# While a probe is under way nobody knows how long it takes: look again after this many seconds.
_PROBE_WAIT_S = 1.0


class Breakers:
    """The breakers of this process, one for each provider, made at its first call."""

    def __init__(self, *, fail_max: int, reset_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``fail_max`` failures in a row open a breaker; after ``reset_s`` seconds it lets one call through."""
        self._fail_max = fail_max
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._breakers: dict[str, _Breaker] = {}

    @contextmanager
    def calling(self, provider: str) -> Iterator[None]:
        """Guard the call in this block and learn from its outcome. Calls of many threads run side by side.

        :raises BreakerOpenError: not now; ``details`` say which ``provider`` and after how many seconds
            (``retry_after_s``) it is worth trying again.
        """
        breaker = self._breaker(provider)
        is_probe = breaker.admit()
        healthy: bool | None = None
        try:
            yield
            healthy = True
        except _FAILURES:
            healthy = False
            raise
        finally:
            breaker.report(healthy, is_probe=is_probe)

    def wait_s(self, provider: str) -> float:
        """Seconds until a call may be made; 0.0 when it may be made now. Asks only: nothing is admitted by it."""
        return self._breaker(provider).wait_s()

    def state(self, provider: str) -> str:
        """``closed``, ``open`` or ``half-open`` (a probe is under way, or the next call is one)."""
        return self._breaker(provider).state()

    def _breaker(self, provider: str) -> _Breaker:
        with self._lock:
            if provider not in self._breakers:
                self._breakers[provider] = _Breaker(provider, self._fail_max, self._reset_s, self._clock)
            return self._breakers[provider]


class _Breaker:
    def __init__(self, provider: str, fail_max: int, reset_s: float, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=fail_max, reset_timeout=reset_s, name=provider, throw_new_error_on_trip=False
        )
        # pybreaker's own times are wall-clock times, which jump.
        self._opened_at = 0.0
        self._probing = False

    def admit(self) -> bool:
        """Let a call through, and say whether it is the probe of a breaker that was open."""
        with self._lock:
            if self._circuit.current_state == pybreaker.STATE_CLOSED:
                return False
            if self._probing:
                raise self._refusal(min(_PROBE_WAIT_S, self._reset_s))
            if self._circuit.current_state == pybreaker.STATE_OPEN:
                wait_s = self._opened_at + self._reset_s - self._clock()
                if wait_s > 0:
                    raise self._refusal(wait_s)
                self._circuit.half_open()
            self._probing = True
            return True

    def wait_s(self) -> float:
        """Seconds until a call may be made, 0.0 for now."""
        with self._lock:
            if self._circuit.current_state == pybreaker.STATE_CLOSED:
                return 0.0
            if self._probing:
                return min(_PROBE_WAIT_S, self._reset_s)
            return max(0.0, self._opened_at + self._reset_s - self._clock())

    def report(self, healthy: bool | None, *, is_probe: bool) -> None:
        """Count an outcome: a success, a failure, or (``None``) neither.

        A call that began while the breaker was closed and ends after it opened is old news: the probe decides.
        """
        with self._lock:
            if is_probe:
                self._probing = False
            elif self._circuit.current_state != pybreaker.STATE_CLOSED:
                return
            if healthy:
                self._circuit.call(lambda: None)
            elif healthy is False:
                with suppress(_FailureSeen):
                    self._circuit.call(_fail)
                if self._circuit.current_state == pybreaker.STATE_OPEN:
                    self._opened_at = self._clock()

    def state(self) -> str:
        with self._lock:
            return str(self._circuit.current_state)

    def _refusal(self, wait_s: float) -> BreakerOpenError:
        return BreakerOpenError(
            f"the breaker of {self._provider} is open; it lets a call through in {wait_s:.1f} s",
            provider=self._provider,
            retry_after_s=round(wait_s, 3),
        )


class _FailureSeen(Exception):  # noqa: N818 (no error of anybody's: how pybreaker is told of one)
    pass


def _fail() -> None:
    raise _FailureSeen
