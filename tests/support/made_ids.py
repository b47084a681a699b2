"""Ids of jobs as a clock of another time would have made them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from storage.db.ids import new_id


def made_at(at: datetime) -> UUID:
    """An id of that instant."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (new_id().int & ((1 << 80) - 1)))
