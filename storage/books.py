"""The books of jobs and calls, several at once: claims, begins and settles in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from errors import NotTogetherError
from storage import jobs, runs
from storage.connect import Connection, cause_of
from storage.jobs import ClaimedJob, Settled, Stopped
from storage.runs import Grant, PlannedCall, later_calls
from storage.sqlstates import Meaning, meaning
from storage.statements import sql
from storage.storable import storable


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a tenant's next job of a lane; see :func:`storage.jobs.claim`."""

    lane: str
    claim_id: UUID
    worker_id: UUID
    timeout_s: float
    turns_per_tenant: int

    def alone(self, connection: Connection, tenant_id: UUID, *, repeat: bool) -> ClaimedJob | Stopped | None:
        """Do it in a transaction of its own."""
        return jobs.claim(
            connection,
            tenant_id,
            self.lane,
            claim_id=self.claim_id,
            worker_id=self.worker_id,
            timeout_s=self.timeout_s,
            turns_per_tenant=self.turns_per_tenant,
            repeat=repeat,
        )

    def as_step(self, *, repeat: bool) -> dict[str, Any]:
        """The step as ``keep_all_books`` takes it."""
        return {
            "do": "claim",
            "lane": self.lane,
            "claim_id": str(self.claim_id),
            "worker_id": str(self.worker_id),
            "timeout_s": self.timeout_s,
            "turns_per_tenant": self.turns_per_tenant,
            "repeat": repeat,
        }


@dataclass(frozen=True, slots=True)
class Begin:
    """The write-ahead of one call; see :func:`storage.runs.begin`."""

    job_id: UUID
    claim_id: UUID
    call: PlannedCall
    later: Sequence[PlannedCall] = ()

    def alone(self, connection: Connection, tenant_id: UUID, *, repeat: bool) -> Grant:
        """Do it in a transaction of its own."""
        return runs.begin(connection, tenant_id, self.job_id, self.claim_id, self.call, self.later)

    def as_step(self, *, repeat: bool) -> dict[str, Any]:
        """The step as ``keep_all_books`` takes it."""
        call = {name: str(value) if isinstance(value, UUID) else value for name, value in asdict(self.call).items()}
        return {"do": "begin", **_whose(self), **call, "later": later_calls(self.later)}


@dataclass(frozen=True, slots=True)
class Settle:
    """The end of a call, of a job's stay with a worker, or of both; see :func:`storage.jobs.settle`."""

    job_id: UUID
    claim_id: UUID
    run: Mapping[str, Any] | None
    verdict: str
    outcome: Mapping[str, Any]

    def alone(self, connection: Connection, tenant_id: UUID, *, repeat: bool) -> Settled:
        """Do it in a transaction of its own."""
        return jobs.settle(
            connection,
            tenant_id,
            self.job_id,
            self.claim_id,
            run=self.run,
            verdict=self.verdict,
            outcome=self.outcome,
        )

    def as_step(self, *, repeat: bool) -> dict[str, Any]:
        """The step as ``keep_all_books`` takes it."""
        run = None if self.run is None else storable(dict(self.run)).obj
        outcome = storable(dict(self.outcome)).obj
        return {"do": "settle", **_whose(self), "run": run, "verdict": self.verdict, "outcome": outcome}


Step: TypeAlias = Claim | Begin | Settle
Done: TypeAlias = ClaimedJob | Stopped | Grant | Settled | None


def keep(
    connection: Connection, steps: Sequence[tuple[UUID, Step]], *, wait: bool, repeat: Sequence[bool] = ()
) -> list[Done]:
    """Do all ``steps``, each with its tenant, in one transaction; what each came to, in their order.

    ``repeat``: which of them were tried before, as far as a claim has to know; none if it is not given.

    Raises :class:`errors.NotTogetherError` when one of them failed, which undoes them all; unless ``wait``, also when
    somebody else holds what one of them needs.
    """
    tried = repeat or [False] * len(steps)
    given = [
        one.as_step(repeat=again) | {"tenant_id": str(tenant_id)}
        for (tenant_id, one), again in zip(steps, tried, strict=True)
    ]
    try:
        rows = connection.execute(sql("books", "keep"), [Jsonb(given), wait]).fetchall()
    except psycopg.Error as error:
        match meaning(error):
            case Meaning.OUTAGE:
                raise  # the same steps again, when Postgres is back
            case Meaning.IN_THE_WAY if wait:
                raise  # the same steps again, when the lock is free
        # by name alone: what Postgres says of a step may hold its tenant's text
        raise NotTogetherError(f"{type(error).__name__} ({error.sqlstate})", steps=len(steps)) from cause_of(error)
    return [_came_to(one, row) for (_, one), row in zip(steps, rows, strict=True)]


def _came_to(step: Step, row: dict[str, Any]) -> Done:
    del row["place"]
    claimed, settled, offers = row.pop("claimed"), row.pop("settled"), row.pop("offers")
    if isinstance(step, Claim):
        return None if claimed is None else jobs.claimed(claimed)
    return Grant(**row) if settled is None else Settled.of_row(settled, offers)


def _whose(step: Begin | Settle) -> dict[str, str]:
    return {"job_id": str(step.job_id), "claim_id": str(step.claim_id)}
