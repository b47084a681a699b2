"""Where the jobs really wait: ``headrace.enqueue_batch``, ``headrace.claim`` and ``headrace.settle`` on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from benchmarks.fairness_sim.backlog import TURNS_PER_TENANT, Held
from benchmarks.fairness_sim.jobs import Asked
from storage.catalogue import tenants
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs

_CLAIM_S = 3600.0


class PostgresBacklog:
    """The real queue table, through the application's role; tenants come and change through the operators'."""

    def __init__(self, app: Database, ops: Database) -> None:
        self._app = app
        self._ops = ops
        self._worker = new_id()
        self._asked: dict[UUID, tuple[Asked, float]] = {}

    def admit(self, name: str, weight: float) -> str:
        with self._ops.connection() as connection:
            tenant = str(tenants.add(connection, name=name, plan="pro", same_name=True))
        self.weigh(tenant, weight)
        return tenant

    def weigh(self, tenant: str, weight: float) -> None:
        with self._ops.connection() as connection:
            connection.execute("update headrace.tenants set weight = %s where id = %s", [weight, tenant])

    def put(self, tenant: str, jobs_: Sequence[Asked], now: float) -> None:
        rows = []
        # In order: jobs of equal rank go by their ids, and ids of one millisecond are in none.
        for job_id, job in zip(sorted(new_id() for _ in jobs_), jobs_, strict=True):
            self._asked[job_id] = (job, now)
            rows.append(
                {"id": str(job_id), "user_id": job.user, "feature": job.feature, "lane": job.lane,
                 "estimated_tokens": job.estimate, "messages": [{"role": "user", "content": "?"}]}
            )  # fmt: skip
        with self._app.connection() as connection:
            refused = [one for one in jobs.enqueue_batch(connection, UUID(tenant), rows, wake=False) if one.error]
        assert not refused, refused

    def claim(self, tenant: str, lane: str, now: float) -> Held | None:
        claim_id = new_id()
        with self._app.connection() as connection:
            claimed = jobs.claim(
                connection, UUID(tenant), lane, claim_id=claim_id, worker_id=self._worker, timeout_s=_CLAIM_S,
                turns_per_tenant=TURNS_PER_TENANT,
            )  # fmt: skip
        if claimed is None:
            return None
        job, since = self._asked.pop(claimed.job_id)
        return Held(job, claimed, since, claim_id)

    def end(self, tenant: str, held: Held) -> None:
        with self._app.connection() as connection:
            settled = jobs.settle(
                connection, UUID(tenant), held.claimed.job_id, held.claim_id, run=None, verdict="ended",
                outcome={"outcome": "failed", "reason": "simulated"},
            )  # fmt: skip
        assert settled.state == "ended", settled
