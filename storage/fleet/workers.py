"""Worker processes as the database knows them: one row for each start of a process, kept alive by heartbeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from storage.db.connect import Connection
from storage.db.statements import sql


def heartbeat(
    connection: Connection,
    worker_id: UUID,
    *,
    host: str,
    pid: int,
    threads: int,
    providers: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Say that this process lives (the first beat registers it).

    :param providers: those that it has a key for, each with what keeps calls from it; a few hundred bytes.
    """
    told = None if providers is None else Jsonb(providers)
    connection.execute(sql("fleet/workers", "heartbeat"), [worker_id, host, pid, threads, told])


def draining(connection: Connection, worker_id: UUID) -> None:
    """Say that this process takes no more work."""
    connection.execute(sql("fleet/workers", "draining"), [worker_id])


def stopped(connection: Connection, worker_id: UUID) -> None:
    """Say that this process has ended: whatever it still holds may be reclaimed at once."""
    connection.execute(sql("fleet/workers", "stopped"), [worker_id])


def alive(connection: Connection, silent_s: float) -> list[dict[str, Any]]:
    """Processes heard of within ``silent_s`` seconds, with how many jobs each runs."""
    return connection.execute(sql("fleet/workers", "alive"), [silent_s]).fetchall()
