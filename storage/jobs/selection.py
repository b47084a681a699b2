"""Which jobs are meant: the filters that list, results, cancel and retry share, and a walk over all jobs that fit them.

The walk goes by id, in windows. An id is a UUIDv7, so its order is that of time, it is what ``jobs`` is partitioned by,
and the primary key and ``jobs_by_tenant`` have that order: each window is one index scan from where the last one ended.
A window looks at a bounded number of jobs, whether they fit or not, so no statement and no snapshot lasts, however many
jobs there are and however few fit. A job that changes between two windows is seen as it is when its window comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import args_row

from storage.db.connect import Connection
from storage.db.ids import first_id_at
from storage.db.statements import sql
from storage.jobs.jobs import State

LOOKED_AT: Final = 5000
"""How many jobs a window looks at."""

_FIRST_ID, _LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
_AHEAD = timedelta(minutes=11)  # headrace.id_ahead() and a bit: by so much an id may be later than its row
_BEHIND = timedelta(days=7)  # an id may be older than its row: a caller repeats a request, or its clock is behind
_LIVE: Final = frozenset(one for one in State if not one.ended)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs; what is None or empty narrows nothing. ``since`` ≤ created < ``until``.

    With ``since``, a job is left out whose id was made more than a week before that time, however late the job went in.
    """

    tenant_id: UUID | None = None
    states: tuple[State, ...] = ()
    feature: str | None = None
    user_id: str | None = None
    lane: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def facts(self) -> dict[str, Any]:
        """What the statements of this selection are given."""
        return asdict(self) | {"states": [one.value for one in self.states] or None}

    @property
    def only_live(self) -> bool:
        """Whether no job that has ended fits."""
        return bool(self.states) and _LIVE.issuperset(self.states)

    def range(self) -> tuple[UUID, UUID]:
        """Between which two ids all jobs lie that fit; neither is one of theirs."""
        after, before = _FIRST_ID, _LAST_ID
        if self.since is not None:
            after = first_id_at(self.since - _BEHIND)
        if self.until is not None:
            before = first_id_at(self.until + _AHEAD)
        return after, before


@dataclass(frozen=True, slots=True)
class SelectedJob:
    """One job that fits, and the state that it was seen in."""

    id: UUID
    tenant_id: UUID
    state: State


@dataclass(frozen=True, slots=True)
class SelectedPage:
    """The jobs of a window that fit, oldest first. ``last``: after which the next one begins; None: there is none."""

    found: Sequence[SelectedJob] = field(default_factory=list)
    last: UUID | None = None


def window(
    connection: Connection, selection: Selection, *, after: UUID | None = None, looked_at: int = LOOKED_AT
) -> SelectedPage:
    """The jobs that fit among the next ``looked_at`` ones after the job ``after`` (None: from the first one on)."""
    first, before = selection.range()
    if after is None:
        after = first if not selection.only_live else oldest_live(connection, selection) or before
    row = connection.execute(
        sql("jobs/selection", "window"),
        {
            **selection.facts(),
            "after": max(after, first),
            "before": before,
            "only_failed": selection.states == (State.FAILED,),
            "looked_at": looked_at,
        },
    ).fetchone()
    assert row is not None, "an aggregate returns a row"
    found = [
        SelectedJob(id, tenant_id, State(state))
        for id, tenant_id, state in zip(row["ids"] or (), row["tenant_ids"] or (), row["states"] or (), strict=True)
    ]
    return SelectedPage(found, None if row["seen"] < looked_at else row["last"])


def oldest_live(connection: Connection, selection: Selection) -> UUID | None:
    """An id right before the oldest live job of the selection's tenant; None when it has none.

    So that a walk over live jobs does not look at those that ended before the first of them.
    """
    row = connection.execute(sql("jobs/selection", "oldest_live"), {"tenant_id": selection.tenant_id}).fetchone()
    return None if row is None else UUID(int=row["id"].int - 1)


@dataclass(frozen=True, slots=True)
class NamedJob:
    """A job that was asked for by its id; ``fits``: the selection too."""

    id: UUID
    tenant_id: UUID
    state: State
    fits: bool


def by_ids(connection: Connection, selection: Selection, ids: Sequence[UUID]) -> list[NamedJob]:
    """Those of these jobs that exist, in the order of ``ids``."""
    with connection.cursor(row_factory=args_row(_named)) as cursor:
        return cursor.execute(sql("jobs/selection", "by_ids"), {**selection.facts(), "ids": list(ids)}).fetchall()


def _named(id: UUID, tenant_id: UUID, state: str, fits: bool) -> NamedJob:
    return NamedJob(id, tenant_id, State(state), fits)


def moment(connection: Connection) -> datetime:
    """The database's time: what a command that changes jobs takes for its ``until``, so that it meets no new ones."""
    row = connection.execute(sql("jobs/selection", "moment")).fetchone()
    assert row is not None, "a function of one row"
    now: datetime = row["now"]
    return now
