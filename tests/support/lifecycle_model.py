"""What the database should say after each step of a job's life, in plain Python: the state machine's second opinion.

Written from DESIGN's rules, not from the SQL. Amounts in USD, times as the test's clock has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

MAX_DEATHS = 3
_ZERO = Decimal(0)
ENDINGS = ("succeeded", "failed", "rejected", "cancelled", "expired")


@dataclass(frozen=True)
class Price:
    """USD a million tokens; the test's calls stay far below the long-context tiers and use no cache."""

    input: Decimal
    cache_write: Decimal
    output: Decimal

    def worst(self, input_bound: int, max_output: int) -> Decimal:
        return (input_bound * max(self.input, self.cache_write) + max_output * self.output) / 1_000_000

    def cost(self, input_tokens: int, output_tokens: int) -> Decimal:
        return (input_tokens * self.input + output_tokens * self.output) / 1_000_000


@dataclass(eq=False)
class Run:
    """One call on the wire."""

    id: UUID
    claim: Claim
    model: str
    platform: bool  # else on the tenant's own key: recorded, never charged to the caps
    reserved: Decimal
    max_output: int
    started_at: datetime
    status: str = "started"
    cost: Decimal | None = None

    def settle(self, status: str, cost: Decimal) -> None:
        """Fenced by its own status: a known outcome is for ever, an unknown one may become known."""
        if self.status in ("succeeded", "failed") or self.status == status == "unknown":
            return
        if self.status == "started" and self.platform and self.claim.live:
            self.claim.held -= self.reserved
        self.status, self.cost = status, cost


@dataclass(eq=False)
class Claim:
    """What ties a worker to a job."""

    id: UUID
    worker: Worker
    job: Job
    deadline: datetime
    held: Decimal = _ZERO  # under the caps: open calls and planned ones
    runs: list[Run] = field(default_factory=list)
    has_settled: bool = False

    @property
    def live(self) -> bool:
        return self.job.claim is self

    @property
    def open_run(self) -> Run | None:
        return self.runs[-1] if self.runs and self.runs[-1].status == "started" else None

    def let_go(self) -> bool:
        """Calls of which nothing was heard become unknown at the worst case; whether there were any."""
        lost = [run for run in self.runs if run.status == "started"]
        for run in lost:
            run.settle("unknown", run.reserved)
        self.held = _ZERO
        self.job.claim = None
        return bool(lost)


@dataclass(eq=False)
class Worker:
    """One process: it beats whenever the clock is moved, unless it is stopped."""

    id: UUID
    beat_at: datetime
    stopped: bool = False

    def silent(self, now: datetime, silent_s: float) -> bool:
        return self.beat_at < now - timedelta(seconds=silent_s)


@dataclass(eq=False)
class Job:
    """One job."""

    id: UUID
    tenant: UUID
    user: str
    feature: str
    lane: str
    on_unknown: str
    deadline: datetime | None
    state: str
    run_at: datetime | None = None
    attempts: int = 0
    deaths: int = 0
    overdue: int = 0
    claim: Claim | None = None
    cancelling: bool = False
    ended_by: UUID | None = None
    asked_again_as: UUID | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDINGS

    def end(self, state: str, *, by: Claim | None = None) -> str:
        assert not self.ended, "a job ends once"
        if self.claim is not None:
            self.claim.let_go()
        self.state, self.run_at, self.ended_by = state, None, by and by.id
        return state

    def requeue(self, now: datetime, run_at: datetime | None, *, burns_attempt: bool, by: Claim | None) -> str:
        """Out of *running*, to run again; a cancelled or late job ends instead."""
        assert self.claim is not None
        if self.cancelling:
            return self.end("cancelled", by=by)
        if self.deadline is not None and self.deadline <= max(now, run_at or now):
            return self.end("expired", by=by)
        self.claim.let_go()
        self.attempts -= not burns_attempt
        self.state, self.run_at = ("queued", None) if run_at is None else ("scheduled", run_at)
        return self.state

    def reclaim(self, now: datetime, silent_s: float) -> str:
        """Its worker is silent, or lives and has let the claim run past its time."""
        assert self.claim is not None
        died = self.claim.worker.silent(now, silent_s)
        unknown = self.claim.open_run is not None
        if unknown and self.on_unknown == "fail":
            return self.end("failed")
        if self.deaths + self.overdue + 1 >= MAX_DEATHS:
            return self.end("failed")
        state = self.requeue(now, None, burns_attempt=True, by=None)
        self.deaths += died and not self.ended
        self.overdue += not died and not self.ended
        return state


@dataclass(frozen=True)
class Cap:
    """One hard cap of a rolling day and what counts against it now. ``limit`` None: no limit."""

    tenant: UUID
    scope: str
    key: str
    limit: Decimal | None
    spent: Decimal
    reserved: Decimal
    flagged: Decimal  # billed beyond the reserved bound, ever

    @property
    def total(self) -> Decimal:
        return self.spent + self.reserved


class Road:
    """Every job, claim and call of an example."""

    def __init__(self, tenant_limits: Mapping[UUID, Decimal], user_share: Decimal) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.claims: list[Claim] = []
        self.runs: dict[UUID, Run] = {}
        self.keys: dict[tuple[UUID, str], tuple[UUID, Any]] = {}  # (tenant, key) → the first job and its body
        self.limits: dict[tuple[UUID, str, str], Decimal] = {
            (tenant, "tenant", ""): limit for tenant, limit in tenant_limits.items()
        }
        self._user_share = user_share

    def live(self, state: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == state]

    def lost(self, now: datetime, silent_s: float) -> list[Job]:
        """Running jobs whose worker is silent or whose claim is past its deadline."""
        return [
            job
            for job in self.live("running")
            if job.claim is not None and (job.claim.deadline < now or job.claim.worker.silent(now, silent_s))
        ]

    def cap(self, tenant: UUID, scope: str, key: str, now: datetime) -> Cap:
        limit = self.limits.get((tenant, scope, key))
        if limit is None and scope == "user":
            limit = self.limits[tenant, "tenant", ""] * self._user_share
        runs = [
            run
            for run in self.runs.values()
            if run.platform
            and run.claim.job.tenant == tenant
            and key == {"tenant": "", "user": run.claim.job.user, "feature": run.claim.job.feature}[scope]
        ]
        window = _hour(now) - timedelta(hours=24)
        claims = {run.claim for run in runs}
        return Cap(
            tenant=tenant,
            scope=scope,
            key=key,
            limit=limit,
            spent=sum((run.cost or _ZERO for run in runs if _hour(run.started_at) >= window), _ZERO),
            reserved=sum((claim.held for claim in claims), _ZERO),
            flagged=sum((max((run.cost or _ZERO) - run.reserved, _ZERO) for run in runs), _ZERO),
        )

    def caps_of(self, job: Job, now: datetime) -> list[Cap]:
        """The three caps that a job's calls count against."""
        keys = (("tenant", ""), ("user", job.user), ("feature", job.feature))
        return [self.cap(job.tenant, scope, key, now) for scope, key in keys]

    def verdict(
        self, claim: Claim, worst: Decimal, least: Decimal, later: Decimal, *, platform: bool, now: datetime
    ) -> str:
        """What begin must answer to a call that costs ``worst``, or ``least`` with the shortest useful answer."""
        if not claim.live:
            return "lost"
        if claim.job.cancelling:
            return "cancelled"
        if claim.job.deadline is not None and claim.job.deadline <= now:
            return "expired"
        if not platform or worst + later <= claim.held:
            return "granted"
        tight = [
            cap
            for cap in self.caps_of(claim.job, now)
            if cap.limit is not None and cap.total - claim.held + least + later > cap.limit
        ]
        if any(cap.spent + least + later > (cap.limit or _ZERO) for cap in tight):
            return "over_budget"
        return "wait_for_room" if tight else "granted"


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
