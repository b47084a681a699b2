"""When a failed attempt is repeated: exponential backoff with full jitter, honouring the provider's Retry-After.

Full jitter spreads the repeats of a mass failure best (Marc Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """The rule of repeats. Times in seconds."""

    max_attempts: int = 3
    base_s: float = 1.0
    cap_s: float = 60.0
    uniform: Callable[[float, float], float] = field(default=random.uniform, repr=False)

    def delay_s(self, attempt: int, *, at_least_s: float | None = None) -> float:
        """Seconds to wait after attempt number ``attempt`` (1 is the first) failed."""
        ceiling = min(self.cap_s, self.base_s * 2 ** (attempt - 1))
        return (at_least_s or 0.0) + self.uniform(0, ceiling)

    def spread_s(self, *, wait_s: float, held_s: float, most_s: float = math.inf) -> float:
        """Seconds added to a wait of ``wait_s`` for a provider, so that jobs do not come back in one instant.

        The longer a job has been held already (``held_s``), the wider: a long outage costs few claims. At most
        ``most_s``.
        """
        ceiling = min(max(self.base_s, wait_s, held_s), self.cap_s, max(most_s, 0.0))
        return self.uniform(0, ceiling)
