"""Choosing among lanes by weight.

Stride scheduling, held by each consumer for itself and without a clock: a lane's *pass* grows by its stride (inversely
proportional to its weight) with each turn served, and the lane with the lowest pass is next. A lane that had no turns
comes back at the level of the busy ones: it saves nothing up while it is idle.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping


class LaneChooser:
    """Deals slots out among lanes in proportion to their weights. Not thread-safe: one consumer owns it."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        """Start with all lanes level.

        :param weights: lane → weight (1 or more); of lanes that are level, the one named first goes first.
        """
        # Whole numbers, so that nothing drifts: the strides are exact for any weights.
        whole = math.lcm(*weights.values())
        self._strides = {lane: whole // weight for lane, weight in weights.items()}
        self._passes = dict.fromkeys(weights, 0)
        self._busy: set[str] = set()
        self._level = 0

    @property
    def lanes(self) -> Collection[str]:
        """The lanes in the order in which they were named."""
        return self._strides.keys()

    def share(self, slots: int, among: Collection[str]) -> dict[str, int]:
        """How many of ``slots`` each lane of ``among`` should get next, as if each had turns enough.

        Lanes come in the order in which they are served first. Nothing is charged before :meth:`record`.
        """
        passes = {lane: self._start(lane) for lane in self._strides if lane in among}
        shares: dict[str, int] = {}
        for _ in range(slots if passes else 0):
            lane = min(passes, key=passes.__getitem__)
            shares[lane] = shares.get(lane, 0) + 1
            passes[lane] += self._strides[lane]
        return shares

    def record(self, wanted: Mapping[str, int], got: Mapping[str, int]) -> None:
        """Charge what a round of takes brought. A lane that brought less than was wanted of it is idle.

        :param wanted: lane → turns asked for.
        :param got: lane → turns that came, for each lane that was asked.
        """
        for lane, turns in got.items():
            self._passes[lane] = self._start(lane) + turns * self._strides[lane]
            if turns < wanted[lane]:
                self._busy.discard(lane)
            else:
                self._busy.add(lane)
        if self._busy:
            self._level = max(self._level, min(self._passes[lane] for lane in self._busy))

    def _start(self, lane: str) -> int:
        own = self._passes[lane]
        return own if lane in self._busy else max(own, self._level)
