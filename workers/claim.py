"""A worker's hold on one job, from the claim to the settle."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from uuid import UUID

from storage.jobs.jobs import ClaimedJob


@dataclass(frozen=True, slots=True)
class Claim:
    """What ties a worker to a job: the fence of everything that it writes."""

    id: UUID
    tenant_id: UUID
    job: ClaimedJob
    since: float  # when it was made; Python's clock

    @property
    def remaining_s(self) -> float:
        """Seconds until the job's deadline; endless without one."""
        left_s = self.job.remaining_s
        return math.inf if left_s is None else left_s - (time.monotonic() - self.since)

    @property
    def held_s(self) -> float:
        """Seconds since a provider's fault first made the job wait; 0.0 when none has."""
        return 0.0 if self.job.held_s is None else self.job.held_s + (time.monotonic() - self.since)

    @property
    def ids(self) -> dict[str, str]:
        """Tenant, job and claim, for the log."""
        return {"tenant_id": str(self.tenant_id), "job_id": str(self.job.job_id), "claim_id": str(self.id)}
