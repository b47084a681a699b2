"""Request rates: a sliding minute per tenant, feature and user, counted in Redis by the ``limits`` package.

Rates protect the service, not the budget: when Redis does not answer they let every request through and log that.
Dollars are counted in Postgres, which never lets an unchecked call through.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import redis
import structlog
from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from queues.cooldown import Cooldown
from queues.redis.cluster import Cluster
from storage.money.rates import Rate

#: Before every key in Redis.
PREFIX: Final = "headrace:rate"
#: The least time until another look at a rate without room, s. The window moves while the answer travels.
LEAST_WAIT_S: Final = 0.05
#: The time after which it is logged again that no rate is enforced, s.
SAID_AGAIN_S: Final = 1.0

T = TypeVar("T")
log = structlog.get_logger("headrace.rates")


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A rate has no room for one more request; ``wait_s``: when it is expected, in seconds."""

    rate: Rate
    wait_s: float


class RateGuard:
    """Counts requests. One object a process; safe for threads."""

    def __init__(self, client: redis.Redis | Cluster) -> None:
        """:param client: a client of Redis or Valkey with time-outs; no command is sent to it yet."""
        counts = RedisStorage("redis://", key_prefix=PREFIX)  # connects nowhere
        # Its own way to a cluster would connect at once. Each rate is one key, so it may live on any master.
        counts.storage = client
        counts.initialize_storage("redis://")
        self._client, self._counts = client, counts
        self._limiter = MovingWindowRateLimiter(counts)
        self._cooldown = Cooldown()
        self._telling = threading.Lock()
        self._open = False
        self._said = False
        self._said_at = -math.inf  # on Python's clock

    def admit(self, tenant_id: UUID, rates: Sequence[Rate]) -> NoRoom | None:
        """Count one request under all ``rates``, or under none when one of them has no room.

        A request that comes after others that wait for a rate waits too. Two requests at the same instant may both find
        the last place of the first rate, and one of them none in the next: then that request has used one place in
        vain.
        """
        for rate in rates:
            if rate.behind:
                return NoRoom(rate, max(self.room(tenant_id, rate)[1], LEAST_WAIT_S))
        return self._answered(lambda: self._count(tenant_id, rates), without_redis=None)

    def room(self, tenant_id: UUID, rate: Rate) -> tuple[int, float]:
        """How many more requests a rate has room for now, and in how many seconds there is more. All, without Redis."""
        return self._answered(lambda: self._window(tenant_id, rate), without_redis=(rate.per_minute, 0.0))

    def rooms(self, tenant_id: UUID, rates: Collection[Rate]) -> dict[Rate, tuple[int, float]]:
        """:meth:`room` of many rates. It asks first which of them have counted any request, all in one trip."""
        nothing: Sequence[Rate] = ()
        counted = self._answered(lambda: self._counted(tenant_id, rates), without_redis=nothing)
        full = {rate: (rate.per_minute, 0.0) for rate in rates}
        return full | {rate: self.room(tenant_id, rate) for rate in counted}

    def _counted(self, tenant_id: UUID, rates: Collection[Rate]) -> Sequence[Rate]:
        """The rates of which there is a count; all, where a cluster would have to be asked key by key."""
        if isinstance(self._client, Cluster):
            return tuple(rates)
        asking = self._client.pipeline(transaction=False)
        for rate in rates:
            asking.exists(self._counts.prefixed_key(_Minute(rate.per_minute).key_for(*_key(tenant_id, rate))))
        return [rate for rate, is_there in zip(rates, asking.execute(), strict=True) if is_there]

    def _count(self, tenant_id: UUID, rates: Sequence[Rate]) -> NoRoom | None:
        if len(rates) > 1:  # look first, so that a refusal by the last counts under none
            for rate in rates:
                if not self._limiter.test(_Minute(rate.per_minute), *_key(tenant_id, rate)):
                    return self._no_room(tenant_id, rate)
        for rate in rates:
            if not self._limiter.hit(_Minute(rate.per_minute), *_key(tenant_id, rate)):
                return self._no_room(tenant_id, rate)
        return None

    def _no_room(self, tenant_id: UUID, rate: Rate) -> NoRoom:
        return NoRoom(rate, max(self._window(tenant_id, rate)[1], LEAST_WAIT_S))

    def _window(self, tenant_id: UUID, rate: Rate) -> tuple[int, float]:
        stats = self._limiter.get_window_stats(_Minute(rate.per_minute), *_key(tenant_id, rate))
        return stats.remaining, max(stats.reset_time - time.time(), 0.0)

    def _answered(self, step: Callable[[], T], *, without_redis: T) -> T:
        """The answer of Redis, or ``without_redis``; each change between the two is logged once."""
        try:
            with self._cooldown.permission() as worth_asking:
                if not worth_asking:
                    return without_redis
                said = step()
        except redis.RedisError as error:
            self._fail_open(error)
            return without_redis
        self._closed_again()
        return said

    def _fail_open(self, error: redis.RedisError) -> None:
        if isinstance(error, redis.TimeoutError):
            self._cooldown.begin()
        if self._open or not self._telling.acquire(blocking=False):  # another thread tells it
            return
        try:
            self._tell_open(error)
        finally:
            self._telling.release()

    def _tell_open(self, error: redis.RedisError) -> None:
        if self._open:
            return
        self._open = True
        # If one master of a cluster is away, some requests meet it and others meet the masters that are there.
        self._said = time.monotonic() - self._said_at >= SAID_AGAIN_S
        if self._said:
            self._said_at = time.monotonic()
            log.warning("rates.open", error=str(error), meaning="no request rate is enforced until Redis answers again")

    def _closed_again(self) -> None:
        if self._open:
            self._open = False
            if self._said:
                log.info("rates.held_again")


class _Minute(RateLimitItemPerMinute):
    """A number of requests a minute, under a key that stays the same when the number changes: a raised rate starts no
    new minute.
    """

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return "/".join(str(one) for one in identifiers)


def _key(tenant_id: UUID, rate: Rate) -> tuple[str, str, str]:
    return str(tenant_id), rate.scope, rate.key
