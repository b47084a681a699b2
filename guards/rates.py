"""Request rates: a sliding minute per tenant, feature and user, counted in Redis by the ``limits`` package.

Rates protect the service, not the purse: when Redis does not answer they let everything through and say so. Dollars are
kept in Postgres and never do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import redis
import structlog
from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from queues.silence import Silence
from storage.rates import Rate

#: Before every key in Redis.
PREFIX: Final = "headrace:rate"
#: The least time until another look at a rate without room, s. The window moves while we speak.
LEAST_WAIT_S: Final = 0.05

log = structlog.get_logger("headrace.rates")


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A rate has no room for one more request; ``wait_s``: when it is expected, in seconds."""

    rate: Rate
    wait_s: float


class RateGuard:
    """Counts requests. One object a process; safe for threads."""

    def __init__(self, client: redis.Redis) -> None:
        """:param client: a client of Redis or Valkey with time-outs; nothing is asked of it yet."""
        self._limiter = MovingWindowRateLimiter(
            RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=PREFIX)
        )
        self._silence = Silence()
        self._open = False

    def admit(self, tenant_id: UUID, rates: Sequence[Rate]) -> NoRoom | None:
        """Count one request under all ``rates``, or under none when one of them has no room.

        Who is behind others that wait for a rate waits too. Two requests at the same instant may both find the last
        place of the first rate and one of them none in the next: then it has used one place in vain.
        """
        for rate in rates:
            if rate.behind:
                return NoRoom(rate, max(self.room(tenant_id, rate)[1], LEAST_WAIT_S))
        try:
            with self._silence.over() as worth_asking:
                if not worth_asking:
                    return None
                if len(rates) > 1:  # look first, so that a refusal by the last counts under none
                    for rate in rates:
                        if not self._limiter.test(_Minute(rate.per_minute), *_key(tenant_id, rate)):
                            return NoRoom(rate, self._wait_s(tenant_id, rate))
                for rate in rates:
                    if not self._limiter.hit(_Minute(rate.per_minute), *_key(tenant_id, rate)):
                        return NoRoom(rate, self._wait_s(tenant_id, rate))
        except redis.RedisError as error:
            self._fail_open(error)
        else:
            self._closed_again()
        return None

    def room(self, tenant_id: UUID, rate: Rate) -> tuple[int, float]:
        """How many more requests a rate has room for now, and in how many seconds there is more. All, without Redis."""
        try:
            with self._silence.over() as worth_asking:
                if not worth_asking:
                    return rate.per_minute, 0.0
                stats = self._limiter.get_window_stats(_Minute(rate.per_minute), *_key(tenant_id, rate))
        except redis.RedisError as error:
            self._fail_open(error)
            return rate.per_minute, 0.0
        self._closed_again()
        return stats.remaining, max(stats.reset_time - time.time(), 0.0)

    def _wait_s(self, tenant_id: UUID, rate: Rate) -> float:
        stats = self._limiter.get_window_stats(_Minute(rate.per_minute), *_key(tenant_id, rate))
        wait_s = stats.reset_time - time.time()
        return max(wait_s, LEAST_WAIT_S) if math.isfinite(wait_s) else LEAST_WAIT_S

    def _fail_open(self, error: redis.RedisError) -> None:
        if isinstance(error, redis.TimeoutError):
            self._silence.met()
        if not self._open:
            self._open = True
            log.warning("rates.open", error=str(error), meaning="no request rate is held until Redis answers again")

    def _closed_again(self) -> None:
        if self._open:
            self._open = False
            log.info("rates.held_again")


class _Minute(RateLimitItemPerMinute):
    """So many a minute, under a key that stays the same when the number changes: a raised rate begins no new minute."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return "/".join(str(one) for one in identifiers)


def _key(tenant_id: UUID, rate: Rate) -> tuple[str, str, str]:
    return str(tenant_id), rate.scope, rate.key
