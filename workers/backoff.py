"""When a failed attempt is repeated: exponential backoff with full jitter, honouring the provider's Retry-After.

Full jitter spreads the repeats of a mass failure best (Marc Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015).
"""

from __future__ import annotations

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
