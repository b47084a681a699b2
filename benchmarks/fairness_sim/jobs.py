"""What the simulated tenants ask for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

INTERACTIVE = "interactive"
BATCH = "batch"
_LEAST, _MOST, _SPREAD = 20, 8_000, 0.6


@dataclass(frozen=True, slots=True)
class Asked:
    """One job: whose it is inside its tenant, what the door estimates (tokens) and what it will really use (tokens)."""

    user: str
    estimate: int
    tokens: int
    lane: str = INTERACTIVE
    feature: str = "chat"


#: Makes a tenant's next job.
Source: TypeAlias = Callable[[], Asked]


def mixed(dice: random.Random, mean: float, *, users: int = 4, off_by: float = 2.0) -> Source:
    """Jobs of log-normal size around ``mean`` tokens, whose estimates are off by up to a factor of ``off_by``."""

    def next_job() -> Asked:
        tokens = int(min(max(dice.lognormvariate(0, _SPREAD) * mean, _LEAST), _MOST))
        estimate = max(1, int(tokens * off_by ** dice.uniform(-1, 1)))
        return Asked(f"u-{dice.randrange(users)}", estimate, tokens)

    return next_job


def alike(tokens: int, *, user: str = "u-0", estimate: int | None = None, lane: str = INTERACTIVE) -> Source:
    """Jobs that are all the same; the estimate is right unless one is given."""
    job = Asked(user, tokens if estimate is None else estimate, tokens, lane)
    return lambda: job
