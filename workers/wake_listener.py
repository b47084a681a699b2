"""Waits for signals that foreign transactions left notes, so that their jobs start as soon as those of Python.

A signal is a hint: the scheduler looks for notes every 200 ms anyway, and behind a transaction pooler that is all there
is. Signals cost the commits that send them something (``headrace.signal_wake`` says what). So a flood of them is
answered by a pause in which none is sent, and this thread has the notes looked for every 20 ms instead.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from errors import HeadraceError
from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.session import OPERATOR
from storage.fleet import wake_signals
from storage.fleet.schedulers import BY_SIGNAL
from storage.fleet.wake_signals import Unfit

#: Signals are asked for so long at a time, s, and again after so long. A killed scheduler asks for none soon after.
WANTED_S: Final = 10.0
RENEWED_EVERY_S: Final = 3.0
#: So many signals within so many seconds are a flood; no signal is sent for so long then, s.
FLOOD: Final = 20
FLOOD_WITHIN_S: Final = 0.2
PAUSE_S: Final = 1.0
#: The time between two looks during a pause, s.
PAUSED_LOOK_S: Final = 0.02
#: The first and the longest pause before the next try to connect, s.
FIRST_TRY_S: Final = 0.2
LONGEST_TRY_S: Final = 10.0
#: How long a connection that cannot carry signals is left alone, s.
UNFIT_AGAIN_S: Final = 300.0

_PAUSE_RENEWED_S = 0.7 * PAUSE_S
_COMMITS_WITHIN_S = 0.1  # a transaction that found the pause may commit so much later than its end
_STOPS_WITHIN_S = 0.25
_NOT_CONNECTED = "not_connected"
log = structlog.get_logger("headrace.scheduler")


class WakeListener:
    """Has notes looked for when a signal says that there are some. It has a thread and a connection of its own."""

    def __init__(self, database: Database, look: Callable[[], None], taken: Callable[[], int]) -> None:
        """Listen nowhere yet.

        :param database: where the notes are; its URL is connected to once more.
        :param look: has a scheduler look for notes soon. It returns at once.
        :param taken: how many notes this scheduler has taken so far.
        """
        self._database = database
        self._look = look
        self._taken = taken
        self._recent: deque[float] = deque(maxlen=FLOOD)  # when the last signals came
        self._told: Unfit | None = None
        self.woken_by = _NOT_CONNECTED
        """``signal``, or why notes are found by the scheduler's own looks alone."""

    def run(self, stopping: threading.Event) -> None:
        """For a thread of its own. It raises nothing, and connects again whenever the connection is lost."""
        again_s = FIRST_TRY_S
        while not stopping.is_set():
            began = time.monotonic()
            try:
                with wake_signals.own_connection(self._database.url, setting=OPERATOR) as connection:
                    why = self._serve(connection, stopping)
            except HeadraceError as error:
                why = None
                log.warning("scheduler.signals_lost", error=str(error), next_try_s=round(again_s, 2))
            except Exception:  # the outermost loop: a bug here must not cost more than the signals
                why = None
                log.exception("scheduler.signals_fault")
            if stopping.is_set():
                return
            self.woken_by = why or _NOT_CONNECTED
            if why is not None:
                stopping.wait(UNFIT_AGAIN_S)
                continue
            if time.monotonic() - began > LONGEST_TRY_S:
                again_s = FIRST_TRY_S
            stopping.wait(random.uniform(0.5, 1.0) * again_s)  # noqa: S311 (spreads reconnects; no secret)
            again_s = min(2 * again_s, LONGEST_TRY_S)

    def _serve(self, connection: Connection, stopping: threading.Event) -> Unfit | None:
        """Look whenever signals come, until told to stop; else why this connection is not fit for them."""
        renew_at = float("-inf")
        while not stopping.is_set():
            if time.monotonic() >= renew_at:
                anew = self.woken_by != BY_SIGNAL
                why = wake_signals.unfit(connection, self._database if anew else None)
                if why is not None:
                    self._tell(why)
                    return why
                if anew:
                    wake_signals.listen(connection)
                    log.info("scheduler.signals_heard")
                    self._told, self.woken_by = None, BY_SIGNAL
                    self._look()  # for what was left meanwhile
                wake_signals.want(connection, for_s=WANTED_S)
                renew_at = time.monotonic() + RENEWED_EVERY_S
            came = wake_signals.wait(connection, within_s=_STOPS_WITHIN_S)
            if came:
                self._look()
                if self._is_flood(came):
                    self._pass_flood(connection, stopping)
        return None

    def _tell(self, why: Unfit) -> None:
        if why is not self._told:
            self._told = why
            log.warning("scheduler.no_signals", reason=why.value, meaning="notes are found by looks every 200 ms")

    def _is_flood(self, came: int) -> bool:
        now = time.monotonic()
        self._recent.extend([now] * min(came, FLOOD))
        return len(self._recent) == FLOOD and now - self._recent[0] <= FLOOD_WITHIN_S

    def _pass_flood(self, connection: Connection, stopping: threading.Event) -> None:
        """Have no signal sent, and look by ourselves, for as long as many notes come."""
        flood = True
        while flood and not stopping.is_set():
            before = self._taken()
            wake_signals.pause(connection, for_s=PAUSE_S)
            wake_signals.want(connection, for_s=WANTED_S)
            self._look_for(_PAUSE_RENEWED_S, stopping)
            flood = self._taken() - before >= FLOOD * _PAUSE_RENEWED_S / FLOOD_WITHIN_S
        self._look_for(PAUSE_S - _PAUSE_RENEWED_S + _COMMITS_WITHIN_S, stopping)
        wake_signals.wait(connection, within_s=0)  # what was sent before the pause was seen
        self._recent.clear()

    def _look_for(self, seconds: float, stopping: threading.Event) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not stopping.wait(PAUSED_LOOK_S):
            self._look()
