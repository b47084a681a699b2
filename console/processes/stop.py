"""What asks a process to stop: SIGTERM, SIGINT, SIGHUP, or the loss of its parent.

    stopping = threading.Event()
    StopRequests(stopping.set, parent=parent, orphaned=lambda: log.warning("worker.orphaned")).start()

A signal handler runs inside whatever the main thread was doing. If that was ``Event.wait``, the main thread may hold
the event's lock, and a handler that sets the event waits for that lock for ever. So the handler only puts the signal
into a ``SimpleQueue``, whose ``put`` is made for that, and a thread takes it from there. No signal is blocked, because
children would inherit the mask and would not hear SIGTERM.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from typing import Any, Final, Literal

TOLD_TWICE = 130
"""The exit code after a second signal."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ORPHAN_CHECK_S: Final = 0.5


def leave_at_once() -> None:
    """End the process without tidying up: the database rolls back, and running jobs are reclaimed."""
    os._exit(TOLD_TWICE)


class StopRequests:
    """Listens for requests to stop: from :meth:`start` to the end of the process or, as a context, of the block."""

    def __init__(
        self,
        first: Callable[[], object],
        *,
        again: Callable[[], object] = leave_at_once,
        parent: int = 0,
        orphaned: Callable[[], object] = lambda: None,
    ) -> None:
        """Listen to nothing yet. The calls below come from a thread of its own, where they may take locks.

        :param first: called at the first request.
        :param again: called at every further signal.
        :param parent: the loss of this process is a request too, unless there was one before; 0: no process is watched.
        :param orphaned: called before ``first`` when the parent was lost.
        """
        self._first, self._again, self._orphaned = first, again, orphaned
        self._parent = parent
        self._heard: queue.SimpleQueue[Literal["signal", "end"]] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._listen, name="stop requests", daemon=True)

    def start(self) -> None:
        """Install the signal handlers; only the main thread may."""
        self._thread.start()
        self._before = {number: signal.signal(number, lambda *_: self._heard.put("signal")) for number in _SIGNALS}

    def __enter__(self) -> StopRequests:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._heard.put("end")

    def _listen(self) -> None:
        if not self._first_comes():
            return
        self._first()
        while self._heard.get() == "signal":
            self._again()

    def _first_comes(self) -> bool:
        """Whether there was a request; otherwise this listener is at its end."""
        while True:
            try:
                return self._heard.get(timeout=_ORPHAN_CHECK_S if self._parent else None) == "signal"
            except queue.Empty:
                if os.getppid() != self._parent:
                    self._orphaned()
                    return True
