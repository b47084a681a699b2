"""What jobs tell the benchmark: when each began and ended, and which process did it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.job import REPORT

_BUFFER = 4 << 20  # bytes of datagrams that may wait while this process is busy


@dataclass(frozen=True, slots=True)
class Span:
    """One job's work, s since the epoch."""

    began: float
    ended: float


class Reports:
    """Receives datagrams on a thread of its own. Close it when done."""

    def __init__(self, path: Path) -> None:
        """Listen on a Unix socket at ``path``."""
        self.path = path
        self.processes: set[int] = set()
        self._spans: dict[int, Span] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """Begin anew, for another peer's jobs of the same numbers."""
        self._spans.clear()
        self.processes.clear()

    def wait(self, numbers: Iterable[int], *, within_s: float) -> list[Span]:
        """The spans of these jobs, in this order, as soon as all have ended. Raises TimeoutError."""
        wanted = list(numbers)
        missing, give_up = set(wanted), time.monotonic() + within_s
        while missing := {one for one in missing if one not in self._spans}:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(missing)} of {len(wanted)} jobs did not end within {within_s:.0f} s")
            time.sleep(0.005)
        return [self._spans[one] for one in wanted]

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(2)
        self._socket.close()

    def _receive(self) -> None:
        while datagram := self._socket.recv(REPORT.size):
            number, process, began, ended = REPORT.unpack(datagram)
            self._spans[number] = Span(began / 1e9, ended / 1e9)
            self.processes.add(process)
