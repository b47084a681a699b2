"""When a waiting job starts if all goes on as it does now. No database, no clock: figures in, seconds out.

The wire deals turns so that tenants with work get work in proportion to their weights (start-time fair queueing). Seen
from afar that is *weighted processor sharing*: a fleet that does ``rate`` tokens a second gives a tenant of weight w
the part w / (all weights of those who have work), and when another tenant's backlog ends, its part goes to the rest. A
job starts when what stands before it has been served, and its tenant's next turn comes.

What it does not know: work that comes in meanwhile, a pause or a cap to come, a provider that gets slower. It takes the
average job for every job, so a single long one is off by its length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_TURN_TO_COME = 0.5
"""Of a round: a turn that comes round is half a round away on average."""


@dataclass(frozen=True, slots=True)
class WaitingWork:
    """One tenant's waiting work: its weight, and the work in tokens (``math.inf``: more than was counted)."""

    weight: float
    tokens: float


@dataclass(frozen=True, slots=True)
class Recent:
    """What was done on the lane lately, in ``span_s`` seconds: jobs begun, those that have settled, tokens of all.

    ``from_idle``: before that, nothing ran, so what runs now has to be counted by half; else as many jobs were under
    way at the beginning as at the end.
    """

    jobs: int
    settled: int
    tokens: float
    span_s: float
    from_idle: bool

    @property
    def rate(self) -> float | None:
        """Tokens a second; None when too little was done to tell."""
        if self.settled == 0 or self.span_s <= 0:
            return None
        done = self.settled + (self.jobs - self.settled) / 2 if self.from_idle else self.jobs
        return self.tokens / self.jobs * done / self.span_s


def starts_in_s(
    *, ahead: int, job_tokens: float, weight: float, rivals: Sequence[WaitingWork], recent: Recent, free_threads: int
) -> float | None:
    """Seconds until a queued job starts; None when nothing was done lately by which to tell.

    :param ahead: jobs of its own tenant that go first.
    :param job_tokens: what a job of this tenant takes on average, tokens.
    :param weight: its tenant's.
    :param rivals: the other tenants that have work on the lane.
    :param free_threads: threads of live workers that run nothing; if one is left for it, it starts at once.
    """
    if free_threads > ahead and not rivals:
        return 0.0
    rate = recent.rate
    if rate is None:
        return None
    return served_in_s(WaitingWork(weight, (ahead + _TURN_TO_COME) * job_tokens), rivals, rate=rate)


def served_in_s(mine: WaitingWork, others: Sequence[WaitingWork], *, rate: float) -> float:
    """Seconds until all of ``mine`` is served by weighted processor sharing at ``rate`` tokens a second.

    While several have work each gets its part; who has none left gives it to the rest. ``virtual`` is what each unit of
    weight has been given so far, so a backlog ends when that reaches its tokens / weight.
    """
    target = mine.tokens / mine.weight
    sharing = math.fsum([mine.weight, *(one.weight for one in others)])
    seconds = virtual = 0.0
    for one in sorted(others, key=lambda other: other.tokens / other.weight):
        ends = one.tokens / one.weight
        if ends >= target:
            break
        seconds += (ends - virtual) * sharing / rate
        virtual, sharing = ends, sharing - one.weight
    return seconds + (target - virtual) * max(sharing, mine.weight) / rate
