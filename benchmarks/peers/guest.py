"""A peer as a side: its worker processes, and what their jobs report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import peer
from benchmarks.peers.reports import Reports, Span

_READY_S, _PROBES_S, _STOP_S = 30.0, 10.0, 6.0
_PROBE_MS = 20  # long enough that one process does not take all of them
_FIRST_PROBE = -1_000_000  # below every job's number


class Guest:
    """:class:`benchmarks.peers.side.Side` of a peer. Close it when done."""

    def __init__(self, name: str, reports: Reports, directory: Path) -> None:
        """Connect. The peer's environment variables are set."""
        self.name = name
        self._peer = peer.connect(name)
        self.promise = self._peer.promise
        self._reports, self._log = reports, directory / f"{name}.log"

    @contextmanager
    def workers(self, processes: int, slots: int) -> Iterator[None]:
        self._reports.forget()
        with self._log.open("ab") as out:
            started = [
                subprocess.Popen(
                    [sys.executable, "-m", *command], stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": "."},
                    start_new_session=True,
                )
                for command in self._peer.worker_commands(processes, slots)
            ]  # fmt: skip
        try:
            self._wait_until_all_work(started, processes, slots)
            yield
        finally:
            for one in started:
                one.terminate()
            for one in started:
                try:
                    one.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    os.killpg(one.pid, signal.SIGKILL)
                    one.wait()

    def send(self, number: int, sleep_ms: int = 0) -> None:
        self._peer.send(number, sleep_ms)

    def send_each(self, numbers: Iterable[int]) -> None:
        self._peer.send_each(numbers)

    def send_all(self, numbers: Iterable[int], sleep_ms: int = 0) -> None:
        self._peer.send_all(numbers, sleep_ms)

    def spans(self, numbers: Sequence[int], *, within_s: float) -> list[Span]:
        try:
            return self._reports.wait(numbers, within_s=within_s)
        except TimeoutError as error:
            raise TimeoutError(f"{self.name}: {error}") from None

    def empty(self) -> None:
        self._peer.empty()

    def close(self) -> None:
        """Let go of the peer's connections."""
        self._peer.close()

    def _wait_until_all_work(self, started: Sequence[subprocess.Popen[bytes]], processes: int, slots: int) -> None:
        give_up, sent = time.monotonic() + _READY_S, _FIRST_PROBE
        while len(self._reports.processes) < processes:
            if time.monotonic() > give_up or any(one.poll() is not None for one in started):
                raise SystemExit(f"{self.name} did not start:\n{self._log.read_text()[-4_000:]}")
            self._peer.send_all(range(sent, sent := sent + processes * slots), _PROBE_MS)
            time.sleep(0.1)
        try:
            self._reports.wait(range(_FIRST_PROBE, sent), within_s=_PROBES_S)
        except TimeoutError as error:  # said, but what is measured comes after it
            print(f"{self.name}, while it started: {error}", flush=True)
