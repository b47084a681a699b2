"""The turn-taking of one lane in plain Python, one turn at a time: what the Lua has to agree with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from queues.redis import wire


@dataclass
class Model:
    most_turns: int
    active: dict[str, float] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    virtual_time: float = 0.0
    ticked: bool = False  # until a turn is taken there is no clock, and the lowest tag counts

    def wipe(self) -> None:
        self.__init__(self.most_turns)  # type: ignore[misc]

    def offer(self, turns: Mapping[str, int]) -> int:
        now = self._now()
        return sum(self._add(tenant, n, now) for tenant, n in turns.items())

    def refill(self, turns: Mapping[str, int]) -> int:
        now = self._now()
        return sum(self._add(tenant, n - self.turns.get(tenant, 0), now) for tenant, n in turns.items())

    def _now(self) -> float:
        """Where a newcomer starts: at the virtual time, but never behind one that is owed something."""
        lowest = min(self.active.values(), default=None)
        if lowest is None:
            return self.virtual_time
        return min(self.virtual_time, lowest) if self.ticked else lowest

    def take(self, n: int) -> list[tuple[str, float]]:
        taken = []
        while self.active and len(taken) < n:
            tenant = min(self.active, key=lambda name: (self.active[name], name))
            self.virtual_time = max(self.virtual_time, self.active[tenant])
            charge = max(self.costs.get(tenant, wire.DEFAULT_CHARGE), wire.LEAST_CHARGE)
            self.active[tenant] += charge
            self.turns[tenant] -= 1
            if not self.turns[tenant]:
                del self.turns[tenant]
                self.idle[tenant] = self.active.pop(tenant)
            taken.append((tenant, charge))
        if taken:
            self.ticked = True
            self._forget()
        return taken

    def correct(self, tenant: str, delta: float, observed: float | None) -> None:
        if observed is not None:
            cost = max(observed, wire.LEAST_CHARGE)
            average = self.costs.get(tenant, cost)
            self.costs[tenant] = average + (cost - average) * wire.SMOOTHING
        if tenant in self.active:
            start = self.active[tenant]
            corrected = start + delta
            if delta < 0 and corrected < self.virtual_time:
                owed = wire.MOST_OWED * self.costs.get(tenant, 0.0)
                corrected = max(corrected, min(start, self.virtual_time - owed))
            self.active[tenant] = corrected
        elif delta:
            finish = self.idle.pop(tenant, self.virtual_time - wire.KEEP) + delta
            if finish > self.virtual_time - wire.KEEP:
                self.idle[tenant] = finish

    def _add(self, tenant: str, n: int, now: float) -> int:
        had = self.turns.get(tenant, 0)
        added = max(0, min(n, self.most_turns - had))
        if added:
            self.turns[tenant] = had + added
            if tenant not in self.active:
                self.active[tenant] = max(self.idle.pop(tenant, now), now)
        return added

    def _forget(self) -> None:
        passed = self.virtual_time - wire.KEEP
        self.idle = {tenant: tag for tenant, tag in self.idle.items() if tag > passed}
