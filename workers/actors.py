"""The one actor: what dramatiq calls when it is a tenant's turn."""

from __future__ import annotations

import dramatiq

from queues.broker import TurnBroker
from queues.consumer import ACTOR, QUEUE
from queues.turns import TURN_VERSION, Turn
from workers.pipeline import Pipeline


def declare(broker: TurnBroker, pipeline: Pipeline) -> None:
    """Declare the actor on this broker."""

    @dramatiq.actor(actor_name=ACTOR, queue_name=QUEUE, broker=broker)
    def turn(v: int, tenant: str, lane: str, charge: float) -> None:
        if v == TURN_VERSION:  # a turn of another release is a hint that we may drop: the sweep offers ours
            pipeline.run(Turn(tenant, lane, charge))
