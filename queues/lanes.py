"""Choosing among lanes by weight.

Stride scheduling, held by each consumer for itself and without a clock: a lane's *pass* grows by its stride (inversely
proportional to its weight) with each turn served, and the lane with the lowest pass is next. A lane that turns out to
have no turn is moved up to the others, so that it saves nothing up, and is asked again one stride later: an idle light
lane is not asked at every turn, and an idle heavy one is served as soon as it has something. A lane that uses capacity
that others leave idle owes nothing for it: when they come back, they start where it is now.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping


class LaneChooser:
    """Distributes slots among lanes in proportion to their weights. Not thread-safe: one consumer owns it."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        """Start with all lanes level.

        :param weights: lane → weight (1 or more); of lanes that are level, the one named first is served first.
        """
        # Whole numbers, so that nothing drifts: the strides are exact for any weights.
        whole = math.lcm(*weights.values())
        self._strides = {lane: whole // weight for lane, weight in weights.items()}
        self._passes = dict.fromkeys(weights, 0)
        self._now = 0  # the pass at which the last turn was served; no lane is behind it

    @property
    def lanes(self) -> Collection[str]:
        """The lanes in the order in which they were named."""
        return self._strides.keys()

    def share(self, slots: int, among: Collection[str]) -> dict[str, int]:
        """How many of ``slots`` each lane of ``among`` should get next, as if each had turns enough.

        Lanes come in the order in which they are served first. Nothing is charged before :meth:`record`.
        """
        passes = {lane: at for lane, at in self._passes.items() if lane in among}
        shares: dict[str, int] = {}
        for _ in range(slots if passes else 0):
            lane = min(passes, key=passes.__getitem__)
            shares[lane] = shares.get(lane, 0) + 1
            passes[lane] += self._strides[lane]
        return shares

    def record(self, wanted: Mapping[str, int], got: Mapping[str, int]) -> None:
        """Charge the result of a round of takes. A lane that gave fewer turns than were wanted has no more.

        :param wanted: lane → turns asked for.
        :param got: lane → turns that came, for each lane that was asked.
        """
        for lane, turns in got.items():
            self._passes[lane] += turns * self._strides[lane]
            if turns:
                self._now = max(self._now, self._passes[lane] - self._strides[lane])
        spent = {lane for lane, turns in got.items() if turns < wanted[lane]}
        others = [at for lane, at in self._passes.items() if lane not in spent]
        level = min(others) if others else max(self._passes.values())
        for lane in spent:
            later = 0 if got[lane] else self._strides[lane]
            self._passes[lane] = max(self._passes[lane], level) + later
        for lane, at in self._passes.items():
            self._passes[lane] = max(at, self._now)
