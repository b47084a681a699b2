"""The jobs that a command is about, one page at a time: by the filters, or by the ids of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from console.bulk.id_file import IdFile
from storage.db.database import Database
from storage.db.logins import refuse_unsafe_role
from storage.db.session import OPERATOR, translate_errors
from storage.jobs import selection
from storage.jobs.selection import SelectedJob, Selection

WITHIN_S: Final = 10.0
"""How long a step waits for Postgres to come back."""

_IDS = 500  # ids of a file, looked up in one statement


@dataclass(frozen=True, slots=True)
class Portion:
    """Some of the chosen jobs. For a file of ids also: the ids that belong to no job, and the number that the filters
    excluded.
    """

    found: Sequence[SelectedJob]
    unknown: Sequence[UUID] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Which jobs are chosen: those that fit the selection, restricted to the ids of a file if there is one."""

    selection: Selection
    ids: IdFile | None = None

    def portions(self, database: Database, *, after: UUID | None = None) -> Iterator[Portion]:
        """The jobs: oldest first, or in the order of the file. ``after``: only those of later ids."""
        if self.ids is None:
            return _walked(database, self.selection, after)
        return _looked_up(database, self.selection, self.ids)


@contextmanager
def operator_database(url: str) -> Iterator[Database]:
    """A pool as headrace_ops that waits for Postgres when it is away; errors are worded for people.

    :raises UnsafeRoleError: the login is also a member of another role.
    """
    with translate_errors(url, setting=OPERATOR), Database(url, connections=2, setting=OPERATOR) as database:
        with database.connection() as connection:
            refuse_unsafe_role(connection, setting=OPERATOR, role="headrace_ops")
        yield database


@contextmanager
def id_file(file: Path | None) -> Iterator[IdFile | None]:
    """The ids of a file, if one is given."""
    if file is None:
        yield None
        return
    with IdFile(file) as ids:
        yield ids


def _walked(database: Database, chosen: Selection, after: UUID | None) -> Iterator[Portion]:
    while True:
        place = after
        window = database.retry_until_answered(
            lambda connection, place=place: selection.window(connection, chosen, after=place),  # type: ignore[misc]
            within_s=WITHIN_S,
        )
        if window.found:
            yield Portion(window.found)
        if window.last is None:
            return
        after = window.last


def _looked_up(database: Database, chosen: Selection, ids: IdFile) -> Iterator[Portion]:
    for chunk in ids.chunks(_IDS):
        named = database.retry_until_answered(
            lambda connection, chunk=chunk: selection.by_ids(connection, chosen, chunk),  # type: ignore[misc]
            within_s=WITHIN_S,
        )
        known = {one.id for one in named}
        yield Portion(
            [SelectedJob(one.id, one.tenant_id, one.state) for one in named if one.fits],
            [one for one in chunk if one not in known],
            sum(not one.fits for one in named),
        )
