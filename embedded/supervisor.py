"""The supervisor: one small process per directory that owns the private servers.

``python -m embedded.supervisor DIRECTORY`` detaches itself. It runs the servers that ``run/*.server.json`` name, starts
one that dies again, and publishes their state in ``run/state.json``. A *user* is any process that holds the shared lock
on ``run/leases``, which the kernel frees however that process ends. With no user left and no ``run/stay`` file it stops
the servers and ends; it also ends when its directory is removed. SIGHUP makes it look for new servers, SIGTERM stops
everything. When it is killed outright, the kernel ends its servers (Linux), and the next start ends any leftover
process (everywhere).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

from embedded.locks import open_lock_file, try_lock, unlock
from embedded.server import SupervisorState, read_server, write_state
from embedded.server_process import ServerProcess

_LOOK_FOR_USERS_EVERY_S = 0.5
_LOOK_AT_STARTS_EVERY_S = 0.01
_TAKE_LOCK_WITHIN_S = 2.0  # a process that only asks whether there is a supervisor holds its lock for a moment


class Supervisor:
    """The servers of one directory, and the loop that watches them."""

    def __init__(self, run: Path, lock: int) -> None:
        """Watch over the servers of a run directory.

        :param lock: descriptor of ``run/supervisor.lock``, held.
        """
        self._run = run
        self._lock = lock
        self._leases = open_lock_file(run / "leases")
        self._children: dict[str, ServerProcess] = {}
        self._told_to_stop = False
        self._told_to_look = True
        self._looks = 0
        self._published: SupervisorState | None = None
        self._alarm, alarm = os.pipe()
        for end in (self._alarm, alarm):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, self._look)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def serve(self) -> None:
        """Keep the servers up until no process uses them any more."""
        try:
            look_at = 0.0
            while not self._told_to_stop:
                if self._told_to_look:
                    self._told_to_look = False
                    self._adopt()
                    # From here on our number is known: signal handlers are installed by now, and a start that finds us
                    # sees at once what an earlier one has asked for.
                    self._publish()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + _LOOK_FOR_USERS_EVERY_S
                    if self._directory_is_gone() or self._nobody_is_left():
                        break
                for child in self._children.values():
                    child.step()
                self._publish()
                self._wait()
        finally:
            self._shut_down()

    def _look(self, *_: object) -> None:
        self._told_to_look = True

    def _stop(self, *_: object) -> None:
        self._told_to_stop = True

    def _adopt(self) -> None:
        self._looks += 1
        for path in sorted(self._run.glob("*.server.json")):
            server = read_server(path)
            child = self._children.get(server.name)
            if child is None or (child.condition == "failed" and child.server.request != server.request):
                self._children[server.name] = ServerProcess(server)

    def _directory_is_gone(self) -> bool:
        try:
            return (self._run / "supervisor.lock").stat().st_ino != os.fstat(self._lock).st_ino
        except OSError:
            return True

    def _nobody_is_left(self) -> bool:
        if not try_lock(self._leases):
            return False
        if (self._run / "stay").exists():
            unlock(self._leases)
            return False
        return True  # and the lock stays ours: a new start waits until we are gone

    def _publish(self, *, stopping: bool = False) -> None:
        servers = {name: child.state() for name, child in self._children.items()}
        state = SupervisorState(os.getpid(), stopping, self._looks, servers)
        if state != self._published and not self._directory_is_gone():
            write_state(self._run / "state.json", state)
            self._published = state

    def _wait(self) -> None:
        in_transit = any(child.is_in_transit for child in self._children.values())
        select.select([self._alarm], [], [], _LOOK_AT_STARTS_EVERY_S if in_transit else _LOOK_FOR_USERS_EVERY_S)
        with contextlib.suppress(BlockingIOError):
            os.read(self._alarm, 4096)

    def _shut_down(self) -> None:
        self._publish(stopping=True)
        for child in self._children.values():
            child.ask_to_end()
        for child in self._children.values():
            child.end()
        self._publish(stopping=True)


def main() -> None:
    """Detach, take the lock unless another process holds it, and serve."""
    run = Path(sys.argv[1]) / "run"
    if os.fork():
        os._exit(0)  # the process that started us need not wait for us, nor reap us
    os.umask(0o077)
    lock = open_lock_file(run / "supervisor.lock")
    deadline = time.monotonic() + _TAKE_LOCK_WITHIN_S
    while not try_lock(lock):
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
    Supervisor(run, lock).serve()


if __name__ == "__main__":
    main()
