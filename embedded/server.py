"""The facts that the supervisor gets about a server, and those that it reports, as plain values in JSON files."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Readiness = Literal["postmaster", "ping", "port"]
Condition = Literal["starting", "running", "restarting", "failed", "stopped"]

PORT = "{port}"
"""Stands in a server's arguments for its last port (0 if it had none)."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to run one server.

    ``ready`` says how to see that it serves, by ``ready_file``: ``postmaster`` reads the status line of a
    postmaster.pid, ``ping`` sends PING to a Unix socket, ``port`` connects to the TCP port that the file names.
    ``retry_on`` are texts in the log of a failed start that mean "not yet".
    """

    name: str
    request: str  # changes when the supervisor is to try again
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    uid: int
    gid: int
    log: str
    ready: Readiness
    ready_file: str
    ready_within_s: float
    stop_signals: tuple[int, ...] = (
        signal.SIGTERM,
    )  # each signal is given some seconds, then the next is sent; SIGKILL comes last
    death_signal: int = signal.SIGKILL  # sent by the kernel when the supervisor dies
    retry_on: tuple[str, ...] = ()
    scratch: str | None = None  # a directory to remove after it has stopped, if it is empty


@dataclass(frozen=True, slots=True)
class ServerState:
    """The state of one server, as the supervisor last saw it."""

    name: str
    request: str
    condition: Condition
    pid: int | None
    started_at: str | None  # UTC, ISO 8601
    restarts: int
    detail: str | None  # the end of its log, when it failed


@dataclass(frozen=True, slots=True)
class SupervisorState:
    """The state that the supervisor publishes."""

    pid: int
    stopping: bool
    looks: int  # how often it has looked for new servers, each time that it was asked to
    servers: dict[str, ServerState] = field(default_factory=dict)


def write_server(path: Path, server: Server) -> None:
    """Tell the supervisor about a server."""
    _write(path, asdict(server))


def read_server(path: Path) -> Server:
    """The server that a file tells of."""
    facts = json.loads(path.read_text())
    for name in ("argv", "stop_signals", "retry_on"):
        facts[name] = tuple(facts[name])
    return Server(**facts)


def write_state(path: Path, state: SupervisorState) -> None:
    """Publish the supervisor's state."""
    _write(path, asdict(state))


def read_state(path: Path) -> SupervisorState | None:
    """The state that was last published, if there is one."""
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    servers = {name: ServerState(**entry) for name, entry in facts["servers"].items()}
    return SupervisorState(facts["pid"], facts["stopping"], facts["looks"], servers)


def log_tail(path: Path, *, after: int = 0, limit: int = 1500) -> str:
    """The end of a log: at most ``limit`` bytes, none from before the offset ``after``."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(after, size - limit))
            return log.read().decode(errors="replace").strip()
    except OSError:
        return ""


def _write(path: Path, facts: dict[str, object]) -> None:
    # Renaming is atomic: a reader sees the old facts or the new, never half of them.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(facts))
    draft.replace(path)
