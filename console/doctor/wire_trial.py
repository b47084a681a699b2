"""One turn on the wire, offered and taken: the only proof that offers get through.

A server that answers a ping may still refuse every offer: its memory is full, it is a replica, it is a node of a
cluster that serves no slots, or one of our queues is of another type.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from console.endpoints import Endpoints
from errors import ServiceError
from queues.broker_url import open_wire
from queues.turns import Wire
from settings import Settings

TENANT = "00000000-0000-0000-0000-000000000000"
"""The tenant of the turn. No tenant has this id, so a worker that is quicker claims nothing."""
LANE = "(doctor)"
"""A lane that no worker asks, on a wire whose lanes cost nothing."""


def try_turn(url: str, *, lanes: Mapping[str, int], setting: str) -> None:
    """Offer a turn and take one. No other turn is lost: one that came instead is given back.

    :raises ServiceError: the wire does not do it; the error says why.
    """
    with closing(open_wire(url, lanes={LANE: 1}, setting=setting)) as wire:
        if wire.counts:
            _through(wire, LANE)
            return
    # Each lane has queues of its own there. They would have to be checked, and a lane of ours would leave its queues
    # behind.
    with closing(open_wire(url, lanes=lanes, setting=setting)) as wire:
        for lane in lanes:
            _through(wire, lane)


def why_no_offers(settings: Settings, services: Endpoints) -> str | None:
    """The wire's error when it takes no offer. None when it takes one, or when no wire is named here."""
    if "redis" in services.embedded and "postgres" not in services.embedded and settings.broker_url is None:
        return None  # the jobs are elsewhere, and so is their wire
    try:
        try_turn(services.broker_url, lanes=settings.lane_weights, setting=services.wire_setting)
    except ServiceError as error:
        return error.message
    return None


def _through(wire: Wire, lane: str) -> None:
    wire.offer(lane, TENANT)
    for turn in wire.take(lane, 1):
        if turn.tenant == TENANT:
            wire.done(turn)
        else:
            wire.hand_back(turn)
