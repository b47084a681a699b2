"""What became of jobs, many at a time: what an export writes, a line a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from storage.db.connect import Connection
from storage.db.statements import sql
from storage.jobs.selection import SelectedJob

MOST_BYTES: Final = 4_000_000
"""Of answers in a page. One answer alone may be larger."""

RAW_JSON: Final = frozenset({"metadata", "output_json", "error"})
"""Columns of a page whose value is JSON as text."""


def page(connection: Connection, found: Sequence[SelectedJob], *, most_bytes: int = MOST_BYTES) -> list[dict[str, Any]]:
    """What became of the first of these jobs, in their order: as many as fit into ``most_bytes``, at least one.

    All but counts and ``simulated`` is text: JSON and amounts (USD) as Postgres writes them, times in UTC with a Z.
    Tokens and cost are of all calls of a job so far.
    """
    return connection.execute(
        sql("jobs/results", "page"),
        {
            "ids": [one.id for one in found],
            "tenant_ids": [one.tenant_id for one in found],
            "most_bytes": most_bytes,
        },
    ).fetchall()
