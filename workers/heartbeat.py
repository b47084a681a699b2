"""One heartbeat a process: the database knows that this worker lives, and takes its jobs back when it does not.

A heart that does not beat must not go unnoticed: the others take this worker's jobs back while it claims more. So a
worker claims only while its heart beats; and a heart that cannot beat although Postgres is well ends the process, which
whatever keeps it up starts again. During an outage of Postgres the process waits: it may hold answers that are paid.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import structlog

from errors import HeadraceError, PostgresUnavailableError, ServiceError
from storage.db.database import Database
from storage.fleet import health, workers

START_WITHIN_S = 10.0
"""How long the first heartbeat may take; after that the start has failed, and is worth another one."""

_CLAIMS_AFTER = 0.5  # of the silence limit: a worker that was not heard for longer claims nothing
_LOOK_S = 0.1
_LAST_WORD_S = 2.0
_JOIN_S = 5.0  # the thread may hang in a connection that is dead; it ends with the process
log = structlog.get_logger("headrace.worker")


class Heartbeat:
    """Beats from :meth:`start` until :meth:`stop`, from a thread of its own. As headrace_ops."""

    def __init__(
        self,
        database: Database,
        worker_id: UUID,
        *,
        every_s: float,
        silent_s: float,
        threads: int,
        jobs_database: Database | None = None,
        providers: Callable[[], Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        """Beat nowhere yet.

        :param silent_s: silence after which others take this worker's jobs back.
        :param jobs_database: where this worker claims and settles: what it answers tells an outage of Postgres from a
            heart that cannot beat.
        :param providers: those that this process has a key for, each with what keeps calls from it now.
        """
        self._database = database
        self._worker_id = worker_id
        self._every_s = every_s
        self._silent_s = silent_s
        self._claims_for_s = max(_CLAIMS_AFTER * silent_s, 2 * every_s)
        self._threads = threads
        self._jobs_database = jobs_database
        self._providers = providers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._beaten_at = float("-inf")  # on Python's clock
        self._well_since: float | None = None  # since when Postgres answers although this heart is silent
        self._error: HeadraceError | None = None  # why the last try was in vain

    def start(self) -> None:
        """Register this process before it takes any work, then keep beating.

        :raises PostgresUnavailableError: it could not be registered in time.
        """
        self._beat(within_s=START_WITHIN_S)
        self._thread.start()

    def may_claim(self, draining: threading.Event) -> bool:
        """Wait until the heart beats; False when the process drains meanwhile."""
        while time.monotonic() - self._beaten_at > self._claims_for_s:
            if draining.wait(_LOOK_S):
                return False
        return True

    def lost(self) -> str | None:
        """Why this process had better end: its heart cannot beat, and that is not an outage of Postgres."""
        if not self._thread.is_alive():
            return "its thread ended"
        now = time.monotonic()
        if now - self._beaten_at <= self._silent_s or not self._postgres_is_well():
            self._well_since = None
            return None
        # After an outage the others listen for so long before they take anything back: time enough for a beat.
        self._well_since = self._well_since or now
        if now - self._well_since <= self._silent_s:
            return None
        return f"not heard for {now - self._beaten_at:.0f} s though Postgres answers: {self._error or 'it hangs'}"

    def draining(self) -> None:
        """Tell that no more work is taken; the heart goes on while calls end."""
        self._say(workers.draining)

    def stop(self) -> None:
        """The last word: whatever this process still held may be reclaimed at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._say(workers.stopped)

    def _run(self) -> None:
        pause_s = self._every_s
        while not self._stop.wait(pause_s):
            try:
                self._beat(within_s=self._every_s)
                pause_s = self._every_s
            except HeadraceError as error:
                self._error = error
                log.warning("worker.heartbeat_lost", worker_id=str(self._worker_id), error=str(error))
                pause_s = 0.0 if isinstance(error, ServiceError) else self._every_s  # an outage was waited for already
            except Exception:  # the thread's outermost loop: the main thread sees that it ended, and ends the process
                log.exception("worker.heartbeat_fault", worker_id=str(self._worker_id))
                return

    def _beat(self, *, within_s: float) -> None:
        providers = None if self._providers is None else self._providers()
        self._database.retry_until_answered(
            lambda connection: workers.heartbeat(
                connection,
                self._worker_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                threads=self._threads,
                providers=providers,
            ),
            within_s=within_s,
            give_up=self._stop,
        )
        self._beaten_at, self._error = time.monotonic(), None

    def _postgres_is_well(self) -> bool:
        """Whether the rest of the process can do its work: then others can, too, and take this worker's jobs back."""
        error = self._error
        if isinstance(error, PostgresUnavailableError) and "sqlstate" in error.details:
            return False  # the server itself says that it cannot
        if self._jobs_database is None:
            return False
        try:
            return self._jobs_database.retry_until_answered(
                lambda connection: health.takes_writes(connection), within_s=0
            )
        except HeadraceError:
            return False

    def _say(self, word: Callable[..., None]) -> None:
        try:
            self._database.retry_until_answered(
                lambda connection: word(connection, self._worker_id), within_s=_LAST_WORD_S
            )
        except HeadraceError as error:
            log.warning("worker.heartbeat_lost", worker_id=str(self._worker_id), error=str(error))
