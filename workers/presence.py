"""One heartbeat a scheduler process, by which doctor, `jobs why` and the metrics tell whether one is at work."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from errors import CutOffError, ServiceError
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import schedulers

BEATS_IN_SILENCE = 4
"""Heartbeats in the time after which a scheduler counts as gone."""


class Presence:
    """The row of this process, kept by a chore of the loop that others wait for: one that stands still is gone."""

    def __init__(self, database: Database, *, silent_s: float, woken_by: Callable[[], str]) -> None:
        """Register nothing yet.

        :param silent_s: silence after which this scheduler counts as gone, s.
        :param woken_by: ``signal``, or why notes are found by its looks alone.
        """
        self._database = database
        self._woken_by = woken_by
        self._id = new_id()
        self.every_s = silent_s / BEATS_IN_SILENCE

    def beat(self) -> None:
        """Say that this process lives.

        :raises ServiceError: Postgres is away.
        :raises CutOffError: it took too long.
        """
        self._database.retry_until_answered(
            lambda connection: schedulers.heartbeat(
                connection, self._id, host=socket.gethostname(), pid=os.getpid(), woken_by=self._woken_by()
            ),
            within_s=self.every_s,
        )

    def leave(self) -> None:
        """Say that it ends. Where Postgres is away, its silence tells the same a little later."""
        with suppress(ServiceError, CutOffError):
            self._database.retry_until_answered(lambda connection: schedulers.stopped(connection, self._id), within_s=0)
