"""What a job is expected to use: its estimate, by how far off the tenant's estimates of that feature have been.

An estimate knows the question, not the answer. While a job runs, its tenant stands as far ahead or behind as the
estimate is off, times the jobs that it has in flight; what was learnt from the last ones makes that small.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

#: Weight of one job in the running average, 0 to 1: as the wire's own average of costs.
SMOOTHING: Final = 1 / 8
#: How far off an estimate is believed to be at most, either way.
MOST_OFF: Final = 64.0
#: Most (tenant, feature) pairs that are remembered; whoever is forgotten is a stranger again.
MOST_KEPT: Final = 10_000


class ExpectedTokens:
    """Learns what jobs use for each token that was estimated. Thread-safe; one a process."""

    def __init__(self) -> None:
        self._off: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._off_anybody: dict[str, float] = {}  # by feature, over all tenants: what a stranger is expected to be
        self._lock = threading.Lock()

    def of(self, tenant: str, feature: str, estimated: int) -> float:
        """The tokens that a job with this estimate is expected to use."""
        with self._lock:
            off = self._off.get((tenant, feature))
            return estimated * (self._off_anybody.get(feature, 1.0) if off is None else off)

    def learn(self, tenant: str, feature: str, *, estimated: int, used: int) -> None:
        """Take note of what a job used."""
        seen = min(max(used / max(estimated, 1), 1 / MOST_OFF), MOST_OFF)
        with self._lock:
            anybody = self._off_anybody.get(feature, seen)
            self._off_anybody[feature] = anybody + (seen - anybody) * SMOOTHING
            before = self._off.pop((tenant, feature), seen)
            self._off[tenant, feature] = before + (seen - before) * SMOOTHING
            if len(self._off) > MOST_KEPT:
                self._off.popitem(last=False)
