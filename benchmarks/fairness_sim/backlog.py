"""Where the simulated jobs wait: in plain Python, ranked as ``queue_rank.sql`` ranks them.

Not what runs in production: :mod:`benchmarks.fairness_sim.postgres` is. This one keeps up with a million jobs, and
``tests/queues/test_fairness_sim.py`` holds it to what the real claim does.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from benchmarks.fairness_sim.jobs import Asked, Source
from storage.jobs.jobs import ClaimedJob

TURNS_PER_TENANT = 64
_NOBODY = UUID(int=0)


@dataclass(slots=True)
class Held:
    """A job that a claim holds. ``asked_at`` and ``weight`` are those of the enqueue and of the claim."""

    job: Asked
    claimed: ClaimedJob
    asked_at: float
    claim_id: UUID = _NOBODY


class Backlog(Protocol):
    """The queue table, as far as fairness goes."""

    def admit(self, name: str, weight: float) -> str:
        """A new tenant; the name that the wire knows it by."""
        ...

    def weigh(self, tenant: str, weight: float) -> None:
        """Change a tenant's weight."""
        ...

    def put(self, tenant: str, jobs: Sequence[Asked], now: float) -> None:
        """Enqueue."""
        ...

    def claim(self, tenant: str, lane: str, now: float) -> Held | None:
        """The tenant's next job of a lane."""
        ...

    def end(self, tenant: str, held: Held) -> None:
        """The job is done."""
        ...


@dataclass(slots=True)
class _Lane:
    """One tenant's jobs of one lane."""

    waiting: list[tuple[int, int, Asked, float]] = field(default_factory=list)  # (rank, order, job, since)
    running: list[int] = field(default_factory=list)  # ranks, sorted
    of_user: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # live ranks, sorted


class MemoryBacklog:
    """Tenants with a queue each, or with an endless one."""

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self._lanes: dict[tuple[str, str], _Lane] = defaultdict(_Lane)
        self._endless: dict[str, Source] = {}
        self._order = itertools.count()

    def admit(self, name: str, weight: float) -> str:
        self._weights[name] = weight
        return name

    def weigh(self, tenant: str, weight: float) -> None:
        self._weights[tenant] = weight

    def never_ends(self, tenant: str, source: Source) -> None:
        """The tenant always has a backlog: when nothing else waits, the source makes the next job."""
        self._endless[tenant] = source

    def put(self, tenant: str, jobs: Sequence[Asked], now: float) -> None:
        for job in jobs:
            lane = self._lanes[tenant, job.lane]
            own = lane.of_user[job.user]
            rank = _virtual_time(lane)
            if own:
                rank = max(rank, own[-1] + job.estimate)
            insort(own, rank)
            heapq.heappush(lane.waiting, (rank, next(self._order), job, now))

    def claim(self, tenant: str, lane: str, now: float) -> Held | None:
        found = self._lanes[tenant, lane]
        source = self._endless.get(tenant)
        if not found.waiting:
            if source is None:
                return None
            job = source()
            return Held(job, self._claimed(tenant, job, rank=-1, more=True), now)
        rank, _, job, since = heapq.heappop(found.waiting)
        insort(found.running, rank)
        more = source is not None or len(found.waiting) >= TURNS_PER_TENANT
        return Held(job, self._claimed(tenant, job, rank=rank, more=more), since)

    def end(self, tenant: str, held: Held) -> None:
        rank = held.claimed.rank
        if rank < 0:  # of an endless source: it was never queued
            return
        lane = self._lanes[tenant, held.job.lane]
        own = lane.of_user[held.job.user]
        for ranks in (lane.running, own):
            del ranks[bisect_left(ranks, rank)]
        if not own:
            del lane.of_user[held.job.user]

    def _claimed(self, tenant: str, job: Asked, *, rank: int, more: bool) -> ClaimedJob:
        return ClaimedJob(
            job_id=_NOBODY, user_id=job.user, feature=job.feature, attempt=1, rank=rank, estimated_tokens=job.estimate,
            plan="pro", weight=self._weights[tenant], prompt_id=None, variables=None, messages=None, context=None,
            output_schema=None, max_output_tokens=None, on_over_budget="fail", on_unknown="retry", force_tier=None,
            metadata={}, rates=(), remaining_s=None, held_s=None, queued_s=0.0, more=more,
        )  # fmt: skip


def _virtual_time(lane: _Lane) -> int:
    if lane.running:
        return lane.running[-1]
    return lane.waiting[0][0] if lane.waiting else 0
