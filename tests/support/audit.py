"""Do the books agree? The checker's own statements over everything that a run of jobs left behind."""

from __future__ import annotations

from typing import Any

from storage.db.database import Database
from storage.fleet import audit


def check_books(ops: Database, journal: list[dict[str, Any]] | None, *, all_ended: bool = True) -> None:
    """Assert that no promise is broken and, with ``all_ended``, that nothing is left in motion."""
    with ops.connection() as connection:
        assert audit.findings(connection) == []
        if journal is not None:
            assert audit.calls(connection, journal) == []
        if all_ended:
            for table, where in (
                ("queue", "true"),
                ("jobs", "outcome is null"),
                ("runs", "status = 'started' or over_reserved_usd > 0"),
                ("reservations", "true"),
                ("caps", "reserved_usd <> 0"),
            ):
                left = connection.execute(f"select * from headrace.{table} where {where} limit 3")  # type: ignore[arg-type]
                assert left.fetchall() == [], table
