"""Where a tenant's turns lie on RabbitMQ, and what a turn looks like there.

A lane is a fixed number of quorum queues, its partitions. A tenant's turns lie in the one that its name hashes to. One
partition more is for the turns of light tenants (:func:`queues.turns.is_light`), whoever they are: they have few each,
and so wait behind nobody's flood.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from queues.turns import TURN_VERSION

#: Partitions of a lane. No setting: processes that disagree would offer where nobody listens. A tenant shares its
#: partition with one in so many others; a process that waits listens to them all, which is what more would cost.
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

    :param marked: it is the sweep's, for a tenant whose turns seem to be lost. Said for those who look into a queue.
    """
    turn: dict[str, Any] = {"v": TURN_VERSION, "tenant": tenant, "lane": lane}
    return json.dumps(turn | {"marked": True} if marked else turn, separators=(",", ":")).encode()


def tenant_of(body: bytes) -> str | None:
    """Whose turn a message is; None when it is no turn, or one of another version."""
    try:
        turn = json.loads(body)
    except ValueError:
        return None
    if not isinstance(turn, dict) or turn.get("v") != TURN_VERSION:
        return None
    tenant = turn.get("tenant")
    return tenant if isinstance(tenant, str) else None
