"""UUIDv7: ids that sort by time, so that partitions prune by the id alone (RFC 9562, section 5.7)."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> UUID:
    """A new UUIDv7: 48 bits of milliseconds, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    return UUID(int=high | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & 0x3FFF_FFFF_FFFF_FFFF)


def first_id_at(at: datetime) -> UUID:
    """What comes before every UUIDv7 of this instant and later, and after every one of an earlier millisecond.

    Instants before 1970 have no UUIDv7: theirs is the least id of all.
    """
    milliseconds = max((at - _EPOCH) // timedelta(milliseconds=1), 0)
    return UUID(int=min(milliseconds, 2**48 - 1) << 80)
