"""Remembers which tenants starve, so that the sweep feeds each once.

In a partition that never runs empty, the loss of one tenant's turns cannot be seen. Its jobs show it: they are queued
and none of them runs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

#: How long none of a tenant's jobs runs before it is given a turn, s. The sweep looks every second.
STARVED_S: Final = 0.9
#: After what time another turn is given to a tenant that the first one did not help, s: it was lost too.
GIVEN_AGAIN_S: Final = 30.0


class Starving:
    """The starving tenants, and those that were fed. For one sweeper, which calls for each lane again and again. Pure
    except for memory.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}
        self._fed: dict[tuple[str, str], float] = {}

    def to_feed(self, lane: str, hungry: Collection[str], now_s: float) -> list[str]:
        """The ``hungry`` tenants that have been so for long enough and have no extra turn outstanding.

        :param hungry: all tenants of the lane that starve now; the others are forgotten.
        """
        for known in (self._since, self._fed):
            for key in [key for key in known if key[0] == lane and key[1] not in hungry]:
                del known[key]
        return [
            tenant
            for tenant in hungry
            if now_s - self._since.setdefault((lane, tenant), now_s) >= STARVED_S
            and now_s - self._fed.get((lane, tenant), now_s - GIVEN_AGAIN_S) >= GIVEN_AGAIN_S
        ]

    def was_fed(self, lane: str, tenants: Collection[str], now_s: float) -> None:
        """Record that these tenants have an extra turn now."""
        self._fed.update(dict.fromkeys(((lane, tenant) for tenant in tenants), now_s))
