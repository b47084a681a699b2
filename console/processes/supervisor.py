"""Child processes that are kept up: started, watched, started again when they die, drained together.

    with Processes(environment) as processes:
        processes.start("worker-1", python("console.processes.worker", "--threads", "16"))
        code = processes.serve()      # until SIGTERM or SIGINT; or do other things and leave the block

A child runs in a session of its own, so that Ctrl-C in a terminal reaches only us: we tell each child once to drain.
A child looks after itself when we are killed outright (``--parent``).
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import structlog

from console.processes.stop import TOLD_TWICE, StopRequests
from errors import ServiceError

CANNOT_START = 2
"""Exit code of a child that will never start: it is not started again, and everything ends with that code."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_HEALTHY_AFTER_S = 30.0  # a child that lived for that long starts again after the first pause
_NEVER = float("inf")
_LOOK_UP_S = 3600.0  # every event is reported through the queue; a wait only needs some end

log = structlog.get_logger("headrace.processes")


class Processes:
    """Some child processes, each with a thread that waits for its end. Leaving the block drains them."""

    def __init__(self, environment: Mapping[str, str], *, patience_s: float = 45.0, logs: Path | None = None) -> None:
        """Start nothing yet.

        :param environment: the children's whole environment.
        :param patience_s: how long a drain may take before children that still run are killed, s.
        :param logs: a directory for the children's output (``<name>.log``); by default they share our own output.
        """
        self._environment = dict(environment)
        self._patience_s = patience_s
        self._logs = logs
        self._children: list[_Child] = []
        self._news: queue.SimpleQueue[Literal["told", "ended"]] = queue.SimpleQueue()

    def start(self, name: str, argv: Sequence[str]) -> None:
        """Start a child and keep it up."""
        log_file = None if self._logs is None else self._logs / f"{name}.log"
        child = _Child(name, argv, self._environment, log_file, self._news)
        self._children.append(child)
        child.thread.start()

    def serve(self, *, parent: int = 0) -> int:
        """Wait until SIGTERM, SIGINT or SIGHUP, drain, and return the exit code. A second signal kills.

        With ``parent``, the loss of that process counts as the first signal.
        0: all drained; 1: one ended badly meanwhile; 2: a child could not start; 130: killed by a second signal.
        """
        told, give_up, killed = 0, _NEVER, False
        with self._stop_requests(parent):
            while not all(child.is_over for child in self._children):
                with contextlib.suppress(queue.Empty):
                    told += self._news.get(timeout=min(max(give_up - time.monotonic(), 0.0), _LOOK_UP_S)) == "told"
                if not killed and (told > 1 or time.monotonic() >= give_up):
                    killed, give_up = True, _NEVER
                    self._kill()
                elif give_up == _NEVER and not killed and (told or self._one_cannot_start()):
                    give_up = time.monotonic() + self._patience_s
                    self.drain()
        return TOLD_TWICE if told > 1 and killed else self._code()

    def check(self) -> None:
        """Raise :class:`errors.ServiceError` when a child could not start; its own message is on standard error."""
        for child in self._children:
            if child.code == CANNOT_START:
                raise ServiceError(f"{child.name} could not start; its message is above", process=child.name)

    def pids(self) -> dict[str, int]:
        """The process numbers of the children that run now."""
        running = [(child.name, child.process) for child in self._children]
        return {name: process.pid for name, process in running if process is not None and process.poll() is None}

    def drain(self) -> None:
        """Tell every child to finish its running work and end; none is started again."""
        for child in self._children:
            child.tell_to_end()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        give_up = time.monotonic() + self._patience_s
        self.drain()
        for child in self._children:
            child.thread.join(max(0.0, give_up - time.monotonic()))
        self._kill()
        for child in self._children:
            child.thread.join()

    def _kill(self) -> None:
        for child in self._children:
            child.kill()

    def _one_cannot_start(self) -> bool:
        return any(child.code == CANNOT_START for child in self._children)

    def _code(self) -> int:
        if self._one_cannot_start():
            return CANNOT_START
        # a child that is told to end before it has its handlers dies of the signal itself: no work was begun yet
        return 0 if all(child.code in (None, 0, -signal.SIGTERM) for child in self._children) else 1

    def _stop_requests(self, parent: int) -> StopRequests:
        def told() -> None:
            self._news.put("told")

        return StopRequests(told, again=told, parent=parent, orphaned=lambda: log.warning("process.orphaned"))


class _Child:
    """One process and the thread that waits for its end."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path | None,
        news: queue.SimpleQueue[Literal["told", "ended"]],
    ) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.is_over = False  # it is not started again
        self.code: int | None = None  # of the last run
        self.thread = threading.Thread(target=self._keep_up, name=f"keeper of {name}", daemon=True)
        self._argv = list(argv)
        self._environment = environment
        self._log_file = log_file
        self._news = news
        self._ending = threading.Event()
        self._lock = threading.Lock()  # so that nothing is started after it was told to end

    def tell_to_end(self) -> None:
        """SIGTERM, once."""
        with self._lock:
            if not self._ending.is_set():
                self._ending.set()
                if self.process is not None:
                    self.process.terminate()

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        with self._lock:
            self._ending.set()
            if self.process is not None and self.process.poll() is None:
                log.warning("process.killed", name=self.name, pid=self.process.pid)
                self.process.kill()

    def _keep_up(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            code = self._live()
            if self._ending.is_set() or code == CANNOT_START:
                self.code = code
                break
            if time.monotonic() - started >= _HEALTHY_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            log.warning("process.died", name=self.name, code=code, restart_in_s=pause_s)
            if self._ending.wait(pause_s):
                break
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self.is_over = True
        self._news.put("ended")

    def _live(self) -> int | None:
        """One run, from start to end; its exit code (None: it was not, or could not be, started)."""
        with self._lock:
            if self._ending.is_set():
                return None
            try:
                self.process = self._spawned()
            except OSError as error:
                log.warning("process.not_started", name=self.name, error=str(error))
                self.process = None
                return None
        log.info("process.started", name=self.name, pid=self.process.pid)
        return self.process.wait()

    def _spawned(self) -> subprocess.Popen[bytes]:
        with contextlib.nullcontext() if self._log_file is None else self._log_file.open("ab") as output:
            return subprocess.Popen(  # noqa: S603
                self._argv,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules as a child of this process, and ends when this process is gone."""
    # -P: the working directory must not shadow our modules
    return [sys.executable, "-P", "-m", module, *arguments, "--parent", str(os.getpid())]
