"""Signals (LISTEN and NOTIFY) that a note was left for the schedulers. As headrace_ops, on a connection of their own.

A signal is a hint: each scheduler looks for notes every 200 ms anyway. ``headrace.signal_wake`` decides whether a note
is signalled (storage/jobs/functions/signal_wake.sql); what it goes by is written here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Final
from uuid import uuid4

from psycopg.sql import SQL, Identifier

from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.session import OPERATOR, session
from storage.db.statements import sql

CHANNEL: Final = "headrace_wakes"
#: What `pg_stat_activity` calls a connection that listens.
NAME: Final = "headrace signals"
#: The part of the server's queue of signals above which no signal is asked for: a full one fails commits that notify.
MOST_QUEUE_USED: Final = 0.25
#: How long a trial signal may take, s.
TRIAL_S: Final = 1.0


class Unfit(StrEnum):
    """Why notes are not signalled here. docs/reference/events.md says what each means."""

    POOLER = "transaction_pooler"
    PREPARED = "prepared_transactions"
    QUEUE = "signal_queue_full"


@contextmanager
def own_connection(url: str, *, setting: str = OPERATOR) -> Iterator[Connection]:
    """A connection for signals alone; raises what :func:`storage.db.session.session` does, in the block too."""
    with session(url, setting=setting) as connection:
        yield connection


def unfit(connection: Connection, database: Database | None = None) -> Unfit | None:
    """Why a connection cannot be used for signals; None when it can. Without ``database`` no pooler is looked for.

    A transaction pooler hands the server's session to another client as soon as nothing is under way, and signals go
    wherever the session is. A session pooler does not. Both show another process than the one that serves, so behind a
    pooler a signal is tried, sent over ``database`` while this connection is idle.
    """
    found = facts(connection)
    if (objects := objection(found)) is not None:
        return objects
    if database is None or found["pid"] == connection.info.backend_pid or _arrives(connection, database):
        return None
    return Unfit.POOLER


def objection(found: Mapping[str, float]) -> Unfit | None:
    """What speaks against signals on a server: they would fail commits of others (``found``: as :func:`facts` says)."""
    if found["prepared"]:
        return Unfit.PREPARED
    return Unfit.QUEUE if found["queue_used"] > MOST_QUEUE_USED else None


def facts(connection: Connection) -> dict[str, float]:
    """The server's process, how many transactions may be prepared, how full the queue of signals is."""
    row = connection.execute(sql("fleet/wake_signals", "facts")).fetchone()
    assert row is not None, "a select without a table returns a row"
    return row


def listen(connection: Connection) -> None:
    """Receive the signals from now on."""
    connection.execute(SQL("set application_name to {}").format(NAME))
    connection.execute(SQL("listen {}").format(Identifier(CHANNEL)))


def want(connection: Connection, *, for_s: float) -> None:
    """Have notes signalled for so many seconds."""
    connection.execute(sql("fleet/wake_signals", "want"), [for_s])


def pause(connection: Connection, *, for_s: float) -> None:
    """Have no note signalled for so many seconds, whoever else listens."""
    connection.execute(sql("fleet/wake_signals", "pause"), [for_s])


def wait(connection: Connection, *, within_s: float) -> int:
    """Wait for signals; how many came at once, 0 when none came in time."""
    return sum(1 for _ in connection.notifies(timeout=within_s, stop_after=1))


def try_channel(connection: Connection, channel: str) -> None:
    """Signal a channel of a trial."""
    connection.execute(sql("fleet/wake_signals", "try_channel"), [channel])


def _arrives(connection: Connection, database: Database) -> bool:
    """Whether a signal arrives while this connection is idle, on a channel that nobody else will ever use."""
    channel = f"headrace_trial_{uuid4().hex}"
    connection.execute(SQL("listen {}").format(Identifier(channel)))
    database.retry_until_answered(lambda other: try_channel(other, channel), within_s=TRIAL_S)
    until = time.monotonic() + TRIAL_S
    arrived = False
    while not arrived and (left_s := until - time.monotonic()) > 0:
        arrived = wait(connection, within_s=left_s) > 0
    connection.execute(SQL("unlisten {}").format(Identifier(channel)))
    return arrived
