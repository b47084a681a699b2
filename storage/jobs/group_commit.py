"""The group commit: claims, begins and settles of several jobs in one transaction.

What a settle carries is written as JSON when the step is made, by its caller: what cannot be written fails there,
before the step meets others. What a step came to is read by itself too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

import psycopg

from errors import NotTogetherError
from storage.db.connect import Connection, cause_of
from storage.db.reading import Unreadable
from storage.db.sqlstates import Meaning, meaning
from storage.db.statements import sql
from storage.db.storable import storable
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob, Settled, Stopped
from storage.money import runs
from storage.money.runs import Grant, PlannedCall, later_calls


@dataclass(frozen=True, slots=True)
class ClaimStep:
    """The claim of a tenant's next job of a lane; see :func:`storage.jobs.jobs.claim`."""

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

    def written(self, *, repeat: bool) -> str:
        """The step as ``group_commit`` takes it, but for its tenant."""
        return json.dumps(
            {
                "do": "claim",
                "lane": self.lane,
                "claim_id": str(self.claim_id),
                "worker_id": str(self.worker_id),
                "timeout_s": self.timeout_s,
                "turns_per_tenant": self.turns_per_tenant,
                "repeat": repeat,
            }
        )


@dataclass(frozen=True, slots=True)
class BeginStep:
    """The write-ahead of one call; see :func:`storage.money.runs.begin`."""

    job_id: UUID
    claim_id: UUID
    call: PlannedCall
    later: Sequence[PlannedCall] = ()

    def alone(self, connection: Connection, tenant_id: UUID, *, repeat: bool) -> Grant:
        """Do it in a transaction of its own."""
        return runs.begin(connection, tenant_id, self.job_id, self.claim_id, self.call, self.later)

    def written(self, *, repeat: bool) -> str:
        """The step as ``group_commit`` takes it, but for its tenant."""
        call = {name: str(value) if isinstance(value, UUID) else value for name, value in asdict(self.call).items()}
        return json.dumps({"do": "begin", **_ids(self), **call, "later": later_calls(self.later)})


@dataclass(frozen=True, slots=True)
class SettleStep:
    """The end of a call, of a job's stay with a worker, or of both; see :func:`storage.jobs.jobs.settle`."""

    job_id: UUID
    claim_id: UUID
    run: Mapping[str, Any] | None
    verdict: str
    outcome: Mapping[str, Any]
    _run: str | None = field(init=False, repr=False, compare=False)
    _outcome: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises :class:`errors.ResultNotStorableError` where run or outcome cannot be JSON."""
        object.__setattr__(self, "_run", None if self.run is None else storable(dict(self.run)))
        object.__setattr__(self, "_outcome", storable(dict(self.outcome)))

    @property
    def characters(self) -> int:
        """How long it is, written."""
        return len(self._run or "") + len(self._outcome)

    def alone(self, connection: Connection, tenant_id: UUID, *, repeat: bool) -> Settled:
        """Do it in a transaction of its own."""
        return jobs.settle(
            connection,
            tenant_id,
            self.job_id,
            self.claim_id,
            run=self._run,
            verdict=self.verdict,
            outcome=self._outcome,
        )

    def written(self, *, repeat: bool) -> str:
        """The step as ``group_commit`` takes it, but for its tenant."""
        step = json.dumps({"do": "settle", **_ids(self), "verdict": self.verdict})
        return f'{step[:-1]}, "run": {self._run or "null"}, "outcome": {self._outcome}}}'


Step: TypeAlias = ClaimStep | BeginStep | SettleStep
Done: TypeAlias = ClaimedJob | Stopped | Grant | Settled | None


def run(
    connection: Connection, steps: Sequence[tuple[UUID, Step]], *, wait: bool, repeat: Sequence[bool] = ()
) -> list[Done | Exception]:
    """Do all ``steps``, each with its tenant, in one transaction; what each came to, in their order.

    What one step came to may be the error that stopped it from being read: the transaction is committed by then, and
    all others have theirs. A :class:`errors.NotTogetherError` there: it was done, and has to be repeated alone.

    ``repeat``: which of them were tried before, as far as a claim has to know; none if it is not given.

    Raises :class:`errors.NotTogetherError` when one of them failed, which undoes them all; unless ``wait``, also when
    another transaction holds what one of them needs.
    """
    tried = repeat or [False] * len(steps)
    given = ", ".join(
        f'{{"tenant_id": "{tenant_id}", {step.written(repeat=again)[1:]}'
        for (tenant_id, step), again in zip(steps, tried, strict=True)
    )
    try:
        rows = connection.execute(sql("jobs/group_commit", "run"), [f"[{given}]", wait]).fetchall()
    except psycopg.Error as error:
        match meaning(error):
            case Meaning.OUTAGE:
                raise  # the same steps again, when Postgres is back
            case Meaning.IN_THE_WAY if wait:
                raise  # the same steps again, when the lock is free
        # by name alone: what Postgres says of a step may hold its tenant's text
        raise NotTogetherError(f"{type(error).__name__} ({error.sqlstate})", steps=len(steps)) from cause_of(error)
    return [_came_to(step, row) for (_, step), row in zip(steps, rows, strict=True)]


def _came_to(step: Step, row: dict[str, Any]) -> Done | Exception:
    if isinstance(row["claimed"], Unreadable):
        return NotTogetherError("what the tenant gave with the job is read field by field, alone")
    try:
        return _read(step, row)
    except Exception as error:  # noqa: BLE001 (not ours to judge: it is raised to the step's own caller)
        return error


def _read(step: Step, row: dict[str, Any]) -> Done:
    del row["place"]
    claimed, settled, offers = row.pop("claimed"), row.pop("settled"), row.pop("offers")
    if isinstance(step, ClaimStep):
        return None if claimed is None else jobs.claimed(claimed)
    return runs.granted(row) if settled is None else Settled.of_row(settled, offers)


def _ids(step: BeginStep | SettleStep) -> dict[str, str]:
    return {"job_id": str(step.job_id), "claim_id": str(step.claim_id)}
