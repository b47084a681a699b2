"""The time of one database, driven by hand: ``headrace.now()`` replaced by what a table says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg


class Clock:
    """Stands still until it is moved."""

    def __init__(self, owner: psycopg.Connection[Any], at: datetime) -> None:
        """Replace the function, as the database's superuser, and set the time."""
        self._owner = owner
        self.now = at
        owner.execute("create table headrace.test_clock (at timestamptz not null)")
        owner.execute("insert into headrace.test_clock values (%s)", [at])
        owner.execute("grant select on headrace.test_clock to public")
        owner.execute(
            "create or replace function headrace.now() returns timestamptz language sql volatile"
            " return (select c.at from headrace.test_clock c)"
        )

    def set(self, at: datetime) -> None:
        """Move to an instant."""
        self._owner.execute("update headrace.test_clock set at = %s", [at])
        self.now = at

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.set(self.now + timedelta(seconds=seconds))
