"""Request rates: requests a minute of a tenant, a user or a feature. The counting is done in ``guards/rates.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.fleet.chores import run_bounded


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate that binds a job. ``scope`` is tenant, feature, user or feature_user (each user of a feature).

    ``behind``: others wait for this rate already, and stand before the job.
    """

    scope: str
    key: str
    per_minute: int
    behind: bool = False

    @property
    def waits_for(self) -> str:
        """The list of those that wait for it (``queue.waits_for``)."""
        return f"rate:{self.scope}:{self.key}"


@dataclass(frozen=True, slots=True)
class WaitingForRate:
    """A list of jobs that wait for a rate, with the rate as it is now; ``per_minute`` None: there is none any more."""

    tenant_id: UUID
    waits_for: str
    per_minute: int | None

    @property
    def rate(self) -> Rate | None:
        """The rate that has to have room."""
        _, scope, key = self.waits_for.split(":", 2)
        return None if self.per_minute is None else Rate(scope, key, self.per_minute)


@dataclass(frozen=True, slots=True)
class WaitingLists:
    """Some lists that wait for rates, and who had a turn: where in its lists it goes on (None: done)."""

    lists: Sequence[WaitingForRate]
    upto: Mapping[UUID, str | None]


def waiting(connection: Connection, turn: Mapping[UUID, str | None], *, lists: int) -> WaitingLists:
    """Lists of jobs that wait for a rate (as headrace_ops): of whose turn it is, each from where it goes on.

    ``lists``: most that are looked at, an equal share of each tenant, two at least.
    """
    facts = {"tenants": list(turn), "before": list(turn.values()), "lists": lists}
    rows = run_bounded(connection, sql("money/rates", "waiting"), facts)
    return WaitingLists(
        [WaitingForRate(row["tenant_id"], row["waits_for"], row["per_minute"]) for row in rows if row["waits_for"]],
        {row["tenant_id"]: row["upto"] for row in rows if not row["waits_for"]},
    )
