"""Circuit breakers: calls to a provider that fails repeatedly are paused for a while.

One breaker a provider and process, around pybreaker's circuit. pybreaker counts failures in a row and holds the states.
Three things that it lacks are added here: a single probe after the pause (its half-open circuit lets every call
through), an admission that holds no lock during the call (its ``call`` does), and outcomes that are neither success nor
failure. So a call is admitted first, runs, and then reports what it showed about the provider's health.

A breaker judges the provider, never a tenant. The failures of one tenant alone may come from its requests, so they open
a breaker of that tenant's own and do not affect the others: the provider's breaker opens when the failures in a row are
of two tenants at least. A call that ran out of its job's own time says nothing at all. A refusal of the platform's key,
or of its account for lack of money, holds for every call: it opens the provider's breaker at once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pybreaker

from errors import (
    BreakerOpenError,
    ProviderAnswerLostError,
    ProviderAuthError,
    ProviderError,
    ProviderForbiddenError,
    ProviderQuotaError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)

# Errors that say something about the provider's health; a timeout and a malformed answer are lost answers too. Refusals
# and rate limits are about the request or our use, and a request that was not sent is about us: these errors neither
# open a breaker nor close one.
_FAILURES = (ProviderUnavailableError, ProviderUnreachableError, ProviderAnswerLostError, ProviderForbiddenError)
# Errors that hold for every request; one is enough to know.
_FOR_ALL = (ProviderAuthError, ProviderQuotaError)

# While a probe is under way its duration is unknown: look again after this many seconds.
_PROBE_WAIT_S = 1.0
# Breakers of single tenants that are kept, those made last; a forgotten breaker starts from zero.
_MOST_TENANTS = 4096


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A breaker opened, or closed after ``open_s`` seconds. ``tenant``: its tenant; None for the provider's own
    breaker.

    ``code``: the error that opened it. After ``reset_s`` seconds an open breaker lets one call through.
    """

    provider: str
    tenant: str | None
    is_open: bool
    code: str | None = None
    reset_s: float = 0.0
    open_s: float = 0.0


class Breakers:
    """The breakers of this process: one for each provider, and one for each provider's tenant that has failed."""

    def __init__(
        self,
        *,
        fail_max: int,
        reset_s: float,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[BreakerChange], None] = lambda _change: None,
    ) -> None:
        """``fail_max`` failures in a row open a breaker; after ``reset_s`` seconds it lets one call through.

        ``on_change`` is called for each breaker that opens or closes, without a lock being held.
        """
        self._on_change = on_change
        self._fail_max = fail_max
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._of_all: dict[str, _Breaker] = {}
        self._of_one: OrderedDict[tuple[str, str], _Breaker] = OrderedDict()

    @contextmanager
    def calling(
        self, provider: str, *, tenant: str | None = None, hurried: bool = False, own_key: bool = False
    ) -> Iterator[None]:
        """Guard the call in this block and learn from its outcome. Calls of many threads run side by side.

        :param tenant: the tenant of the call; None for a call of our own, whose failures count alone.
        :param hurried: the call has less than its whole time, so that running out of it is not a failure.
        :param own_key: the call is made with the tenant's own key, so that its refusal says nothing of ours.
        :raises BreakerOpenError: not now; ``details`` name the ``provider`` and the seconds after which to try again
            (``retry_after_s``).
        """
        of_all, of_one = self._breaker(provider), self._own(provider, tenant)
        own_ticket = None if of_one is None else of_one.admit()
        try:
            ticket = of_all.admit()
        except BreakerOpenError:
            if of_one is not None:
                of_one.report(None, tenant, own_ticket)
            raise
        healthy: bool | None = None
        for_all = False
        code: str | None = None
        try:
            yield
            healthy = True
        except _FOR_ALL as error:
            for_all, code = not own_key, error.code
            raise
        except _FAILURES as error:
            healthy, code = None if hurried and _timed_out(error) else False, error.code
            raise
        finally:
            changes = [of_all.open(ticket, code) if for_all else of_all.report(healthy, tenant, ticket, code)]
            if of_one is None and healthy is False and tenant is not None:
                of_one = self._begin_own(provider, tenant)
            if of_one is not None:
                changes.append(of_one.report(healthy, None, own_ticket, code))
            for change in changes:
                if change is not None:
                    self._on_change(change)

    def wait_s(self, provider: str, *, tenant: str | None = None) -> float:
        """Seconds until a call may be made; 0.0 when it may be made now. It only asks and admits no call."""
        own = self._own(provider, tenant)
        return max(self._breaker(provider).wait_s(), 0.0 if own is None else own.wait_s())

    def state(self, provider: str) -> str:
        """``closed``, ``open`` or ``half-open`` (a probe is under way, or the next call is one)."""
        return self._breaker(provider).state()

    def tenants_open(self, provider: str) -> int:
        """The number of tenants whose own breaker for a provider is not closed."""
        with self._lock:
            own = [one for (name, _), one in self._of_one.items() if name == provider]
        return sum(one.state() != pybreaker.STATE_CLOSED for one in own)

    def _breaker(self, provider: str) -> _Breaker:
        with self._lock:
            if provider not in self._of_all:
                self._of_all[provider] = self._new(provider, None)
            return self._of_all[provider]

    def _own(self, provider: str, tenant: str | None) -> _Breaker | None:
        return None if tenant is None else self._of_one.get((provider, tenant))

    def _begin_own(self, provider: str, tenant: str) -> _Breaker:
        with self._lock:
            own = self._of_one.setdefault((provider, tenant), self._new(provider, tenant))
            self._of_one.move_to_end((provider, tenant))
            while len(self._of_one) > _MOST_TENANTS:
                self._of_one.popitem(last=False)
            return own

    def _new(self, provider: str, tenant: str | None) -> _Breaker:
        return _Breaker(provider, tenant, self._fail_max, self._reset_s, self._clock)


def _timed_out(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.timed_out


class _Breaker:
    def __init__(
        self, provider: str, tenant: str | None, fail_max: int, reset_s: float, clock: Callable[[], float]
    ) -> None:
        self._provider = provider
        self._tenant = tenant  # the tenant
        self._open_since: float | None = None  # failed probes do not end that time
        self._fail_max = fail_max
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=fail_max, reset_timeout=reset_s, name=provider, throw_new_error_on_trip=False
        )
        # pybreaker's own times are wall-clock times, which jump.
        self._opened_at = 0.0
        self._probes = 0
        self._probe_since: float | None = None  # of the probe that is under way
        self._failed: set[str] = set()  # tenants of the failures in a row; two are enough to know

    def admit(self) -> int | None:
        """Let a call through; the probe's number if it is the probe of a breaker that was open."""
        with self._lock:
            if self._circuit.current_state == pybreaker.STATE_CLOSED:
                return None
            wait_s = self._wait_s()
            if wait_s > 0:
                raise self._refusal(wait_s)
            if self._circuit.current_state == pybreaker.STATE_OPEN:
                self._circuit.half_open()
            self._probes += 1
            self._probe_since = self._clock()
            return self._probes

    def wait_s(self) -> float:
        """Seconds until a call may be made, 0.0 for now."""
        with self._lock:
            return self._wait_s()

    def report(
        self, healthy: bool | None, tenant: str | None, probe: int | None, code: str | None = None
    ) -> BreakerChange | None:
        """Count an outcome: a success, a failure, or (``None``) neither. ``probe``: what :meth:`admit` returned.

        ``code`` names the failure. Returns the change that this caused.

        A call that began while the breaker was closed and ended after it opened is outdated: the probe decides. So is a
        probe that took so long that another one was let through.
        """
        with self._lock:
            if not self._is_news(probe):
                return None
            if healthy:
                self._failed.clear()
                self._circuit.call(lambda: None)
            elif healthy is False and self._is_the_providers(tenant):
                with suppress(_FailureSeen):
                    self._circuit.call(_fail)
                if self._circuit.current_state == pybreaker.STATE_OPEN:
                    self._opened_at = self._clock()
            return self._change(code)

    def open(self, probe: int | None, code: str | None = None) -> BreakerChange | None:
        """Open at once, however few failures there were. The rest is as in :meth:`report`."""
        with self._lock:
            if self._is_news(probe):
                self._circuit.open()
                self._opened_at = self._clock()
            return self._change(code)

    def _change(self, code: str | None) -> BreakerChange | None:
        state, since = self._circuit.current_state, self._open_since
        if state == pybreaker.STATE_OPEN and since is None:
            self._open_since = self._opened_at
            return BreakerChange(self._provider, self._tenant, is_open=True, code=code, reset_s=self._reset_s)
        if state == pybreaker.STATE_CLOSED and since is not None:
            self._open_since = None
            return BreakerChange(self._provider, self._tenant, is_open=False, open_s=self._clock() - since)
        return None

    def state(self) -> str:
        with self._lock:
            return str(self._circuit.current_state)

    def _is_news(self, probe: int | None) -> bool:
        if probe is None:
            return bool(self._circuit.current_state == pybreaker.STATE_CLOSED)
        if probe != self._probes or self._probe_since is None:
            return False
        self._probe_since = None
        return True

    def _is_the_providers(self, tenant: str | None) -> bool:
        """Whether a failure counts: the one that would open a closed breaker needs an earlier failure of another
        tenant.
        """
        if tenant is None:
            return True
        if len(self._failed) < 2:
            self._failed.add(tenant)
        would_open = self._circuit.fail_counter + 1 >= self._fail_max
        return self._circuit.current_state != pybreaker.STATE_CLOSED or not would_open or len(self._failed) > 1

    def _wait_s(self) -> float:
        state = self._circuit.current_state
        if state == pybreaker.STATE_CLOSED:
            return 0.0
        if self._probe_since is not None:  # after this time another probe may start, so that a slow one blocks no call
            left_s = self._probe_since + self._reset_s - self._clock()
            return min(_PROBE_WAIT_S, self._reset_s, left_s) if left_s > 0 else 0.0
        return max(0.0, self._opened_at + self._reset_s - self._clock()) if state == pybreaker.STATE_OPEN else 0.0

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
