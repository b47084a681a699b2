"""Worker processes as the database knows them: one row for each start of a process, kept alive by heartbeats."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from storage.connect import Connection
from storage.statements import sql


def heartbeat(connection: Connection, worker_id: UUID, *, host: str, pid: int, threads: int) -> None:
    """Say that this process lives (the first beat registers it)."""
    connection.execute(sql("workers", "heartbeat"), [worker_id, host, pid, threads])


def draining(connection: Connection, worker_id: UUID) -> None:
    """Say that this process takes no more work."""
    connection.execute(sql("workers", "draining"), [worker_id])


def stopped(connection: Connection, worker_id: UUID) -> None:
    """Say that this process has ended: whatever it still holds may be taken back at once."""
    connection.execute(sql("workers", "stopped"), [worker_id])


def alive(connection: Connection, silent_s: float) -> list[dict[str, Any]]:
    """Processes heard of within ``silent_s`` seconds, with how many jobs each runs."""
    return connection.execute(sql("workers", "alive"), [silent_s]).fetchall()
