"""The outbox: what has to be told to somebody outside, written with what it tells of, and sent until it is received.

Whoever sends takes an event, tries it with no transaction open, and says what became of it. An event counts as possibly
received from the moment it is taken, so a sender that dies in between leaves no false belief behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql

_ERROR_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class TakenEvent:
    """An event that is being tried, for the ``attempt``-th time. ``taken_at`` is Postgres's time.

    ``unsure_before``: since when the receiver may have had it without our knowing, before this try.
    """

    id: int
    tenant_id: UUID
    payload: Mapping[str, Any]
    attempt: int
    unsure_before: datetime | None
    taken_at: datetime


def take(connection: Connection, topic: str, *, lease_s: float, sure_s: float) -> TakenEvent | None:
    """Take the event of a topic that has been due longest; None when none is due.

    It is nobody else's for ``lease_s`` seconds. One whose receipt has been unsure for ``sure_s`` seconds is left alone.
    """
    facts = {"topic": topic, "lease_s": lease_s, "sure_s": sure_s}
    row = connection.execute(sql("money/outbox", "take"), facts).fetchone()
    return None if row is None else TakenEvent(**row)


def mark_sent(connection: Connection, taken: TakenEvent) -> None:
    """It has been received."""
    connection.execute(sql("money/outbox", "mark_sent"), {"id": taken.id, "tenant_id": taken.tenant_id})


def mark_failed(
    connection: Connection, taken: TakenEvent, *, error: str, again_in_s: float, received: bool | None
) -> None:
    """The try did not do, for the reason that ``error`` tells; the next one is due in ``again_in_s`` seconds.

    :param received: False: not received by this try, for sure. None: nobody knows.
    """
    connection.execute(
        sql("money/outbox", "mark_failed"),
        {
            "id": taken.id,
            "tenant_id": taken.tenant_id,
            "attempt": taken.attempt,
            "unsure_before": taken.unsure_before,
            "error": error[:_ERROR_LENGTH],
            "again_in_s": again_in_s,
            "received": received,
        },
    )
