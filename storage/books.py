"""The books of calls, several at once: begins and settles of one tenant in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from errors import NotTogetherError
from storage import jobs, runs
from storage.connect import Connection
from storage.jobs import Settled
from storage.runs import Grant, PlannedCall, later_calls
from storage.statements import sql
from storage.storable import storable


@dataclass(frozen=True, slots=True)
class Begin:
    """The write-ahead of one call; see :func:`storage.runs.begin`."""

    job_id: UUID
    claim_id: UUID
    call: PlannedCall
    later: Sequence[PlannedCall] = ()

    def alone(self, connection: Connection, tenant_id: UUID) -> Grant:
        """Do it in a transaction of its own."""
        return runs.begin(connection, tenant_id, self.job_id, self.claim_id, self.call, self.later)

    def as_step(self) -> dict[str, Any]:
        """The step as ``keep_books`` takes it."""
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

    def alone(self, connection: Connection, tenant_id: UUID) -> Settled:
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

    def as_step(self) -> dict[str, Any]:
        """The step as ``keep_books`` takes it."""
        run = None if self.run is None else storable(dict(self.run)).obj
        outcome = storable(dict(self.outcome)).obj
        return {"do": "settle", **_whose(self), "run": run, "verdict": self.verdict, "outcome": outcome}


Step: TypeAlias = Begin | Settle


def keep(connection: Connection, tenant_id: UUID, steps: Sequence[Step]) -> list[Grant | Settled]:
    """Do all ``steps`` in one transaction; what each came to, in their order.

    Raises :class:`errors.NotTogetherError` when one of them failed, which undoes them all.
    """
    given = Jsonb([one.as_step() for one in steps])
    try:
        rows = connection.execute(sql("books", "keep"), [tenant_id, given]).fetchall()
    except psycopg.OperationalError:  # the connection is gone or a lock was in the way: the same steps again
        raise
    except psycopg.Error as error:
        raise NotTogetherError(str(error).strip(), steps=len(steps)) from error
    done: list[Grant | Settled] = []
    for row in rows:
        del row["place"]
        settled, offers = row.pop("settled"), row.pop("offers")
        done.append(Grant(**row) if settled is None else Settled.of_row(settled, offers))
    return done


def _whose(step: Step) -> dict[str, str]:
    return {"job_id": str(step.job_id), "claim_id": str(step.claim_id)}
