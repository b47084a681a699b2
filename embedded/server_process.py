"""One server as a child process of the supervisor: started, watched, started again, stopped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from embedded import probe
from embedded.account import Account
from embedded.server import PORT, Condition, Server, ServerState, log_tail

_PR_SET_PDEATHSIG = 1
_RETRY_START_FOR_S = 15.0  # a start that fails for a reason of `retry_on` is repeated for that long
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_HEALTHY_AFTER_S = 10.0  # a server that has served for that long starts again without a pause
_PATIENCE_S = 8.0  # for each stop signal
_LOG_LIMIT_BYTES = 10_000_000

_libc = ctypes.CDLL(None)  # loaded here, because a forked child should do as little as possible


class ServerProcess:
    """The process of one server. Nothing here blocks, except :meth:`end`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.condition: Condition = "starting"
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._detail: str | None = None
        self._has_served = False
        self._pause_s = 0.0
        self._wake_at = 0.0
        self._first_try_at = time.monotonic()
        self._spawned_at = 0.0
        self._started_at: str | None = None
        self._log_start = 0
        self._port = _port_in(Path(server.ready_file)) if server.ready == "port" else 0

    @property
    def is_in_transit(self) -> bool:
        """Whether it has to be looked at often."""
        return self.condition in ("starting", "restarting")

    def state(self) -> ServerState:
        pid = self.process.pid if self.process else None
        return ServerState(
            self.server.name,
            self.server.request,
            self.condition,
            pid,
            self._started_at if pid else None,
            self.restarts,
            self._detail,
        )

    def step(self) -> None:
        """Look at the process and take the action that is due."""
        now = time.monotonic()
        if self.process is None:
            if self.is_in_transit and now >= self._wake_at:
                self._spawn(now)
        elif self.process.poll() is not None:
            self._has_ended(now, f"it ended with {_exit(self.process.returncode)}")
        elif self.is_in_transit:
            if _is_ready(self.server, self.process.pid):
                self.condition, self._has_served, self._detail = "running", True, None
                if self.server.ready == "port":
                    self._port = _port_in(Path(self.server.ready_file))
            elif now - self._spawned_at > self.server.ready_within_s:
                self.process.kill()
                self.process.wait()
                self._has_ended(now, f"it did not serve within {self.server.ready_within_s:g} s")

    def ask_to_end(self) -> None:
        """Send the first signal to stop, if it runs; the last one if it does not serve.

        A Postgres that recovers from a crash may hang in a fast shutdown, and an immediate one costs it nothing.
        """
        if self.process is not None and self.process.poll() is None:
            serves = _is_ready(self.server, self.process.pid) and _answers(self.server)
            self.process.send_signal(self.server.stop_signals[0 if serves else -1])

    def end(self) -> None:
        """Wait until it has ended; use ever stronger signals."""
        if self.process is not None:
            for number in (*self.server.stop_signals[1:], signal.SIGKILL):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(_PATIENCE_S)
                    break
                self.process.send_signal(number)
            self.process.wait()
        self.process, self.condition = None, "stopped"
        if self.server.scratch is not None:
            with contextlib.suppress(OSError):
                Path(self.server.scratch).rmdir()

    def _spawn(self, now: float) -> None:
        server = self.server
        try:
            if server.ready == "port":
                Path(server.ready_file).unlink(missing_ok=True)  # its return says that the server listens
            argv = [argument.replace(PORT, str(self._port)) for argument in server.argv]
            with _open_log(Path(server.log)) as log:
                self._log_start = log.tell()
                self.process = subprocess.Popen(  # noqa: S603
                    argv,
                    cwd=server.cwd,
                    env=server.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=_die_with_us(server.death_signal),
                    **Account(server.uid, server.gid).of_process(),
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._has_ended(now, f"it could not be started: {error}")
            return
        self._spawned_at = now
        self._started_at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def _has_ended(self, now: float, how: str) -> None:
        self.process = None
        said = log_tail(Path(self.server.log), after=self._log_start)
        self._detail = f"{how}\n{said}".strip()
        if self._has_served:
            served_s = now - self._spawned_at if self.condition == "running" else 0.0
            calm = served_s >= _HEALTHY_AFTER_S
            self.condition, self.restarts = "restarting", self.restarts + 1
            self._pause_s = 0.0 if calm else min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        elif any(text in said for text in self.server.retry_on) and now - self._first_try_at < _RETRY_START_FOR_S:
            self._pause_s = _FIRST_PAUSE_S
        elif self._port:
            self._port = 0  # the port of an earlier run may belong to another program by now: choose another
        else:
            self.condition = "failed"
        self._wake_at = now + self._pause_s


def _die_with_us(number: int) -> Callable[[], None] | None:
    """The first action of the new process: ask the kernel for a signal when the supervisor dies (Linux only).

    It comes after the change of user, which would cancel the request.
    """
    if not sys.platform.startswith("linux"):
        return None
    supervisor = os.getpid()

    def arrange() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != supervisor:  # it died before the request was made
            os._exit(1)

    return arrange


def _open_log(path: Path) -> IO[bytes]:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_name(f"{path.name}.old"))
    return path.open("ab")


def _is_ready(server: Server, pid: int) -> bool:
    file = Path(server.ready_file)
    if server.ready == "ping":
        return probe.valkey_answers(file)
    if server.ready == "port":
        port = _port_in(file)
        return port != 0 and probe.port_answers(port)
    return _says_ready(file, pid)


def _says_ready(postmaster_pid: Path, pid: int) -> bool:
    # Postgres logs a complaint about every connection before it is ready, so it is not asked directly.
    try:
        lines = postmaster_pid.read_text().splitlines()
        return len(lines) >= 8 and lines[7].strip() == "ready" and int(lines[0]) == pid
    except (OSError, ValueError):
        return False


def _answers(server: Server) -> bool:
    if server.ready != "postmaster":
        return True
    try:
        port, sockets = Path(server.ready_file).read_text().splitlines()[3:5]
    except (OSError, ValueError):
        return False
    return probe.postgres_answers(Path(sockets) / f".s.PGSQL.{port}")


def _port_in(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
