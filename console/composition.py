"""The parts that several composition roots build from the settings: the wire and the guard of request rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from guards.rates import RateGuard
from queues.broker_url import open_wire, redis_client
from queues.turns import Wire
from settings import Settings, reveal
from wording import needed

if TYPE_CHECKING:
    from console.endpoints import Endpoints

START_HINT: Final = "`headrace worker` and `headrace scheduler` set it for the processes that they start."

log = structlog.get_logger("headrace.process")


def wire_from(settings: Settings, services: Endpoints | None = None) -> Wire:
    """The wire that the settings name, not connected yet.

    :param services: where the services are; by default only where the settings say.
    :raises ConfigurationError: the wire's URL is not set or cannot be read.
    """
    if services is None:
        url = needed(reveal(settings.broker_url or settings.redis_url), "HEADRACE_REDIS_URL", hint=START_HINT)
        setting = settings.wire_setting
    else:
        url, setting = services.broker_url, services.wire_setting
    return open_wire(url, lanes=settings.lane_weights, turns_per_tenant=settings.turns_per_tenant, setting=setting)


def rates_from(settings: Settings) -> RateGuard | None:
    """The guard that counts requests. Without a Redis no request rate is enforced, which is logged once."""
    url = reveal(settings.redis_url)
    if url is None:
        log.warning("rates.open", error="HEADRACE_REDIS_URL is not set", meaning="no request rate is enforced")
        return None
    return RateGuard(redis_client(url))
