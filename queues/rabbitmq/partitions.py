"""The queues of a tenant's turns on RabbitMQ, and the form of a turn there.

A lane is a fixed number of quorum queues, its partitions. A tenant's turns are in the one that its name hashes to. One
more partition is for the turns of all light tenants (:func:`queues.turns.is_light`): each has few turns, and so they do
not wait behind a flood.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from queues.turns import TURN_VERSION

#: Partitions of a lane. This is not a setting: processes that disagree would offer to queues that no worker listens to.
#: A tenant shares its partition with every n-th other tenant. A waiting process listens to all partitions, which is the
#: cost of more of them.
PARTITIONS: Final = 16

#: The partition of light tenants' turns.
LIGHT: Final = PARTITIONS
ALL_PARTITIONS: Final = (*range(PARTITIONS), LIGHT)

#: How a partition is declared, everywhere alike, or the server refuses. The limit: turns that come back because a
#: process had no free slot after all have not failed, and RabbitMQ 4 would drop them after 20 times.
DECLARED: Final[dict[str, Any]] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


def partition_of(tenant: str) -> int:
    """The partition of a tenant, the same in every process and release."""
    return zlib.crc32(tenant.encode()) % PARTITIONS


def queue_name(lane: str, partition: int) -> str:
    """The name of the queue that is this partition of the lane."""
    return f"headrace.{lane}.{'light' if partition == LIGHT else partition}"


def queue_names(lane: str) -> list[str]:
    """Every queue of a lane."""
    return [queue_name(lane, partition) for partition in ALL_PARTITIONS]


def encode(lane: str, tenant: str, *, marked: bool = False) -> bytes:
    """The message that is one turn.

    :param marked: it is the sweep's, for a tenant whose turns seem to be lost. The mark is for people who inspect a
        queue.
    """
    turn: dict[str, Any] = {"v": TURN_VERSION, "tenant": tenant, "lane": lane}
    return json.dumps(turn | {"marked": True} if marked else turn, separators=(",", ":")).encode()


def tenant_of(body: bytes) -> str | None:
    """The tenant of a message; None when it is not a turn, or one of another version."""
    try:
        turn = json.loads(body)
    except ValueError:
        return None
    if not isinstance(turn, dict) or turn.get("v") != TURN_VERSION:
        return None
    tenant = turn.get("tenant")
    return tenant if isinstance(tenant, str) else None
