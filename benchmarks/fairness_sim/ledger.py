"""The figures that judge the simulation: each tenant's share, and each tenant's waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from benchmarks.fairness_sim.world import Started


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 when all shares are equal, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


class Ledger:
    """Notes every start. Work is tokens that a job really uses / its tenant's weight, counted when it starts."""

    def __init__(self) -> None:
        self.starts = 0
        self.work: dict[str, float] = defaultdict(float)
        self.tokens: dict[str, int] = defaultdict(int)
        self.dearest: dict[str, float] = defaultdict(float)  # a tenant's largest job, tokens / weight
        self.most_off: dict[str, float] = defaultdict(float)  # its worst estimate, tokens / weight
        self.waits: dict[str, list[float]] = defaultdict(list)

    def note(self, start: Started) -> None:
        """One job was started."""
        self.starts += 1
        tenant, job = start.tenant, start.job
        self.work[tenant] += start.work
        self.tokens[tenant] += job.tokens
        self.waits[tenant].append(start.wait_s)
        self.dearest[tenant] = max(self.dearest[tenant], start.work)
        off = abs(job.estimate - job.tokens) * start.work / job.tokens
        self.most_off[tenant] = max(self.most_off[tenant], off)

    def jain(self, tenants: Collection[str]) -> float:
        """Jain's index of these tenants' work."""
        return jain([self.work[tenant] for tenant in tenants])

    def difference(self, tenants: Collection[str]) -> float:
        """The largest difference of work between two of them."""
        shares = [self.work[tenant] for tenant in tenants]
        return max(shares) - min(shares)

    def bound(self, tenants: Collection[str], in_flight: int) -> float:
        """What the difference may be at most: each side's dearest job, and its ``in_flight`` estimates that are off."""
        worst = sorted((self.dearest[one] + in_flight * self.most_off[one] for one in tenants), reverse=True)
        return sum(worst[:2])

    def waited(self, tenants: Collection[str]) -> list[float]:
        """Waits of all their jobs, s."""
        return [wait for tenant in tenants for wait in self.waits[tenant]]
