"""Start the private services of a directory and keep them up; stop them; report their state."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from embedded import account as accounts
from embedded import leftovers as leftovers
from embedded import paths, postgres, probe, simulator, valkey
from embedded.account import Account
from embedded.locks import is_locked, lock, locked, open_lock_file, try_lock
from embedded.paths import Paths
from embedded.server import Server, ServerState, SupervisorState, log_tail, read_state, write_server
from errors import ConfigurationError, PostgresUnavailableError, RedisUnavailableError, ServiceError

ServiceName = Literal["postgres", "redis", "simulator"]
_AT_HOME: frozenset[ServiceName] = frozenset({"postgres", "redis"})  # those that have files and a user of their own
EVERY_SERVICE: tuple[ServiceName, ...] = ("postgres", "redis", "simulator")

_ROOT = Path(__file__).resolve().parents[1]  # the folder that `embedded` is imported from
_TURN_WITHIN_S = 300.0  # a first start and its migrations may be under way in another shell
_KEEPER_STOPS_WITHIN_S = 60.0
_KEEPER_STARTS_WITHIN_S = 20.0
_READY_WITHIN_S = 330.0  # the supervisor itself gives up on a server earlier
_POLL_S = 0.01
_KNOCK_AGAIN_S = 0.1
_TRIES = 5

# The part of our environment that the supervisor and the simulator get: enough to run this Python, and no secret.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_", "LD_LIBRARY_PATH", "DYLD_", "PYTHON", "VIRTUAL_ENV")
_UNAVAILABLE: dict[str, type[ServiceError]] = {"postgres": PostgresUnavailableError, "redis": RedisUnavailableError}


@contextmanager
def held_up(
    directory: Path, services: frozenset[ServiceName], *, prepare: Callable[[str], object], stay: bool = False
) -> Iterator[Paths]:
    """Have the services of a directory up for the length of a block or, with ``stay``, until :func:`take_down`.

    :param prepare: called with the database owner's URL once Postgres serves, by one process at a time.
    :raises ConfigurationError: the directory, the system user or the programs cannot be used.
    :raises ServiceError: a server did not start; the message ends with its last output.
    """
    directory = paths.paths_of(directory)
    # The simulator runs as ourselves: it needs no system user and no system directory.
    account = accounts.for_servers() if services & _AT_HOME else None
    paths.claim(directory)
    run = directory / "run"
    with contextlib.ExitStack() as stack:
        with locked(run / "lock", within_s=_TURN_WITHIN_S):
            user = lock(run / "leases", shared=True, within_s=_KEEPER_STOPS_WITHIN_S)
            stack.callback(os.close, user)
            here = _bring_up(directory, account, services)
            if "postgres" in services:
                prepare(postgres.url(here, postgres.OWNER))
            if stay:
                (run / "stay").touch(mode=0o600)
        yield here


def take_down(directory: Path) -> bool:
    """Stop every service of a directory, even if other processes use it, and end leftover processes; returns whether
    there was any.

    :raises ConfigurationError: the directory belongs to another user.
    :raises ServiceError: another process holds the directory for too long.
    """
    directory = paths.paths_of(directory)
    run = directory / "run"
    paths.check_ownership(directory)
    if not run.is_dir():
        return False
    with locked(run / "lock", within_s=_TURN_WITHIN_S):
        (run / "stay").unlink(missing_ok=True)
        was_up = _signal_supervisor(run, signal.SIGTERM)
        deadline = time.monotonic() + _KEEPER_STOPS_WITHIN_S
        while is_locked(run / "supervisor.lock"):
            if time.monotonic() > deadline:
                _signal_supervisor(run, signal.SIGKILL)
            time.sleep(_POLL_S)
        leftovers.end_all(paths.known_paths(directory))
        (run / "state.json").unlink(missing_ok=True)
    return was_up


def states(directory: Path) -> dict[str, ServerState]:
    """The state of the servers of a directory; empty when no supervisor is in lock."""
    run = paths.paths_of(directory) / "run"
    try:
        if not is_locked(run / "supervisor.lock"):
            return {}
        state = read_state(run / "state.json")
    except PermissionError as error:
        raise ConfigurationError(
            "the private services of this directory belong to another user", field="HEADRACE_DIR", value=str(directory)
        ) from error
    except NotADirectoryError as error:
        raise ConfigurationError("is not a directory", field="HEADRACE_DIR", value=str(directory)) from error
    return {} if state is None else state.servers


def stays(directory: Path) -> bool:
    """Whether the services of a directory were told to stay up when no process uses them."""
    return (paths.paths_of(directory) / "run" / "stay").exists()


def _bring_up(directory: Path, account: Account | None, services: frozenset[ServiceName]) -> Paths:
    run = directory / "run"
    for _ in range(_TRIES):
        with contextlib.ExitStack() as lock:
            # While it is vacant we hold the lock ourselves, so that no straggler of a start that was killed can
            # take it before everything is cleaned up and asked for. A supervisor that takes it then does what we asked.
            descriptor = open_lock_file(run / "supervisor.lock")
            lock.callback(os.close, descriptor)
            is_vacant = try_lock(descriptor)
            current = None if is_vacant else _running_supervisor(run)
            if is_vacant:
                _end_earlier_life(directory)
            elif current is None:
                continue  # it was just left
            here = paths.known_paths(directory)
            if account is not None and not (current and current.servers.keys() & _AT_HOME):
                here = _move_in(directory, account)
            wanted = {name: _ask(name, here, account, current) for name in EVERY_SERVICE if name in services}
        if current is None:
            _start_supervisor(here)
        else:
            _signal_supervisor(run, signal.SIGHUP)
        if _are_ready(here, wanted, looks=current.looks if current else 0):
            return here
    raise ServiceError("the supervisor of the private services ended repeatedly", hint=_see(directory / "logs"))


def _end_earlier_life(directory: Path) -> None:
    """End and forget the leftovers of an earlier run."""
    run = directory / "run"
    leftovers.end_all(paths.known_paths(directory))
    for remains in (*run.glob("*.server.json"), run / "state.json"):
        remains.unlink(missing_ok=True)


def _move_in(directory: Path, account: Account) -> Paths:
    """Choose the places of Postgres and Valkey, and remove what would block them."""
    here = paths.settle(directory, account)
    leftovers.end_housed(here)
    for remains in here.sockets.iterdir():
        remains.unlink()
    for home in [] if account.is_ours else paths.abandoned():
        leftovers.end_housed(Paths(directory, home, home / "s"))
        shutil.rmtree(home, ignore_errors=True)
        paths.forget(home)
    return here


def _ask(name: ServiceName, here: Paths, account: Account | None, current: SupervisorState | None) -> str:
    """Ask the supervisor for a service, unless it has it; returns the request to wait for."""
    known = current.servers.get(name) if current else None
    if known is not None and known.condition in ("starting", "running", "restarting"):
        return known.request
    request = secrets.token_hex(8)
    write_server(here.run / f"{name}.server.json", _server(name, here, account, request))
    return request


def _server(name: ServiceName, here: Paths, account: Account | None, request: str) -> Server:
    if name == "simulator":
        return simulator.prepare(here, _ROOT, _environment(), request)
    assert account is not None, "the caller has chosen the account that runs these"
    return postgres.prepare(here, account, request) if name == "postgres" else valkey.prepare(here, account, request)


def _start_supervisor(here: Paths) -> None:
    log_path = here.logs / "supervisor.log"
    with log_path.open("ab") as log:
        start = log.tell()
        outcome = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "embedded.supervisor", str(here.directory)],
            cwd=_ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=False,
        )
    deadline = time.monotonic() + _KEEPER_STARTS_WITHIN_S
    while not is_locked(here.run / "supervisor.lock"):
        if outcome.returncode != 0 or time.monotonic() > deadline:
            raise ServiceError(
                f"the supervisor of the private services did not start:\n{log_tail(log_path, after=start)}",
                hint=_see(log_path),
            )
        time.sleep(_POLL_S)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}


def _running_supervisor(run: Path) -> SupervisorState | None:
    """What the supervisor in lock has published, or ``None`` if there is no supervisor.

    The number in it is that supervisor's own: the file is removed before a new one takes lock.
    """
    deadline = time.monotonic() + _KEEPER_STARTS_WITHIN_S
    while is_locked(run / "supervisor.lock"):
        if state := read_state(run / "state.json"):
            return state
        if time.monotonic() > deadline:
            raise ServiceError("the supervisor of the private services does not report", hint=_see(run.parent / "logs"))
        time.sleep(_POLL_S)
    return None


def _signal_supervisor(run: Path, number: int) -> bool:
    """Signal the supervisor in lock, if there is one; returns whether there was one."""
    state = _running_supervisor(run)
    if state is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(state.pid, number)
    return True


def _are_ready(here: Paths, wanted: dict[ServiceName, str], *, looks: int) -> bool:
    """Wait for the servers; ``False`` when the supervisor ends.

    :param looks: the supervisor has to have looked once more than that. A supervisor that has just been told to stop,
        or was killed, may still seem to hold its lock. One that has looked since we asked was alive then.
    :raises ServiceError: one of them could not be started.
    """
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        state = read_state(here.run / "state.json")
        servers = state.servers if state else {}
        mine = [
            servers[name] for name, request in wanted.items() if name in servers and servers[name].request == request
        ]
        for server in mine:
            if server.condition == "failed":
                raise _failure(here, server)
        is_willing = state is not None and not state.stopping and state.looks > looks
        if is_willing and len(mine) == len(wanted) and all(server.condition == "running" for server in mine):
            # The supervisor sees processes. Only they can tell whether they serve, for example while Postgres recovers.
            if all(_answers(name, here) for name in wanted):
                return True
            time.sleep(_KNOCK_AGAIN_S)
        if not is_locked(here.run / "supervisor.lock"):
            return False
        if time.monotonic() > deadline:
            raise ServiceError("the private services did not become ready", hint=_see(here.logs))
        time.sleep(_POLL_S)


def _answers(name: ServiceName, here: Paths) -> bool:
    if name == "postgres":
        return probe.postgres_answers(postgres.socket(here))
    if name == "redis":
        return probe.valkey_answers(here.valkey_socket)
    port = simulator.port(here)
    return port is not None and probe.port_answers(port)


def _failure(here: Paths, server: ServerState) -> ServiceError:
    log = here.logs / ("valkey.log" if server.name == "redis" else f"{server.name}.log")
    kind = _UNAVAILABLE.get(server.name, ServiceError)
    return kind(f"the private {server.name} server did not start: {server.detail}\n", hint=_see(log), log=str(log))


def _see(log: Path) -> str:
    return f"See {log}, fix the problem that it names and try again, or set the URL of a server of your own."
