"""One heartbeat a process: the database knows that this worker lives, and takes its jobs back when it does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from uuid import UUID

import structlog

from errors import ServiceError
from storage import workers
from storage.database import Database

log = structlog.get_logger("headrace.worker")


class Heartbeat:
    """Beats from :meth:`start` until :meth:`stop`, from a thread of its own. As headrace_ops."""

    def __init__(self, database: Database, worker_id: UUID, *, every_s: float, threads: int) -> None:
        self._database = database
        self._worker_id = worker_id
        self._every_s = every_s
        self._threads = threads
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register this process before it takes any work, then keep beating."""
        self._beat()
        self._thread.start()

    def draining(self) -> None:
        """Tell that no more work is taken; the heart goes on while calls end."""
        self._try(
            lambda: self._database.patiently(
                lambda connection, _: workers.draining(connection, self._worker_id), within_s=2
            )
        )

    def stop(self) -> None:
        """The last word: whatever this process still held may be taken back at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._try(
            lambda: self._database.patiently(
                lambda connection, _: workers.stopped(connection, self._worker_id), within_s=2
            )
        )

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._try(self._beat)

    def _beat(self) -> None:
        self._database.patiently(
            lambda connection, _repeat: workers.heartbeat(
                connection, self._worker_id, host=socket.gethostname(), pid=os.getpid(), threads=self._threads
            ),
            give_up=self._stop,
        )

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except ServiceError as error:
            log.warning("worker.heartbeat_lost", worker_id=str(self._worker_id), error=str(error))
