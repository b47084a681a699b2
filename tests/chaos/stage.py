"""Where one schedule plays: a database of its own, the simulator, workers and schedulers, on the servers of a ground.

The processes are kept up, as ``headrace worker`` keeps its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from producers import Client
from queues.broker_url import open_wire
from settings import Settings
from storage.db.database import Database
from tests.chaos.ground import TEMPLATE, Ground
from tests.chaos.schedule import SCHEDULERS, WORKERS
from tests.support.fleet import Fleet, Urls, eventually

SILENT_S = 2.0
CLAIM_TIMEOUT_S = 10.0
THREADS = 8
SETTINGS = {
    "HEADRACE_HEARTBEAT_S": "0.5",
    "HEADRACE_WORKER_SILENT_S": f"{SILENT_S:g}",
    "HEADRACE_RETRY_BASE_S": "0.1",
    "HEADRACE_RETRY_CAP_S": "1",
    "HEADRACE_MAX_ATTEMPTS": "5",
    "HEADRACE_CALL_TIMEOUT_S": "3",
    "HEADRACE_CLAIM_TIMEOUT_S": f"{CLAIM_TIMEOUT_S:g}",
    "HEADRACE_BREAKER_RESET_S": "0.5",
    "HEADRACE_DRAIN_S": "5",
}
LATENCY_MS = (50, 900)  # so that some calls are on their way at any moment

_BACK_WITHIN_S = 60.0
_READY_WITHIN_S = 60.0
_DRAINED_WITHIN_S = 40.0
_START_AGAIN_S = 0.3
_WORKER_ID = re.compile(r'"worker_id": "([0-9a-f-]{36})".*"worker\.ready"')
_AWAY = ("postgres_unavailable", "redis_unavailable")


@dataclass(slots=True)
class Life:
    """One of the processes that are kept up, and what is known of its present instance."""

    name: str
    arguments: tuple[str, ...]
    env: dict[str, str]
    begun_at: int = 0  # where its instance's part of the log begins, bytes
    told: signal.Signals | None = None  # how this instance was told to end
    frozen: bool = False
    start_at: float = 0.0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class OwnEnd:
    """A process that ended without being told to, or not as it was told."""

    name: str
    code: int | None  # None: it went on for ever
    said: str


@dataclass(slots=True)
class Stage:
    """One schedule's processes and database."""

    ground: Ground
    directory: Path
    database: str
    fleet: Fleet
    client: Client
    lives: dict[str, Life] = field(default_factory=dict)
    own_ends: list[OwnEnd] = field(default_factory=list)
    frozen_postgres: list[psutil.Process] = field(default_factory=list)
    disturbed: set[str] = field(default_factory=set)  # ids of workers that were killed, frozen or drained
    starts: int = 0

    @property
    def urls(self) -> Urls:
        return self.fleet.urls

    @property
    def superuser_url(self) -> str:
        return self.ground.url("postgres", self.database)

    def valkey(self) -> redis.Redis:
        """A client of the wire's server that does not wait long."""
        return redis.Redis.from_url(self.urls.redis, socket_timeout=1.0, socket_connect_timeout=1.0)

    # ----------------------------------------------------------------------------------------------- processes

    def start(self, name: str) -> None:
        """Start a process anew."""
        life = self.lives[name]
        log = self.directory / f"{name}.log"
        life.begun_at = log.stat().st_size if log.exists() else 0
        life.told, life.frozen, life.ended = None, False, False
        self.fleet.start(name, *life.arguments, **life.env)
        self.starts += 1

    def keep_up(self) -> None:
        """Note what has ended and start again what is due."""
        for name, life in self.lives.items():
            process = self.fleet.processes[name]
            if process.poll() is None:
                continue
            if not life.ended:
                life.ended = True
                life.start_at = max(life.start_at, time.monotonic() + _START_AGAIN_S * (life.told is None))
                self._note_end(life, process.returncode)
            if time.monotonic() >= life.start_at:
                self.start(name)

    def is_up(self, name: str) -> bool:
        return not self.lives[name].ended and self.fleet.processes[name].poll() is None

    def kill(self, name: str, *, down_s: float) -> None:
        """SIGKILL; another instance starts ``down_s`` later."""
        self._note_disturbed(name)
        life = self.lives[name]
        life.told = signal.SIGKILL
        life.start_at = time.monotonic() + down_s
        self.fleet.processes[name].kill()

    def drain(self, name: str) -> None:
        """SIGTERM; another instance starts when this one has ended."""
        self._note_disturbed(name)
        life = self.lives[name]
        life.told = signal.SIGTERM
        self.fleet.processes[name].terminate()

    def freeze(self, name: str) -> None:
        self._note_disturbed(name)
        self.lives[name].frozen = True
        self.fleet.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.lives[name].frozen = False
        self.fleet.processes[name].send_signal(signal.SIGCONT)

    def said(self, life: Life) -> str:
        """What a process's present instance has printed."""
        with (self.directory / f"{life.name}.log").open("rb") as log:
            log.seek(life.begun_at)
            return log.read().decode(errors="replace")

    def is_ready(self, name: str) -> bool:
        """Whether it works, and has not been told to end."""
        life = self.lives[name]
        word = "worker.ready" if name in WORKERS else "scheduler.ready"
        return self.is_up(name) and life.told is None and word in self.said(life)

    def signal_server(self, service: str, number: signal.Signals) -> bool:
        """Signal ``postgres`` or ``redis`` itself; False while it is not there."""
        pid = self.ground.pid(service)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def freeze_postgres(self) -> bool:
        """SIGSTOP for all of its processes; False while it is not there."""
        pid = self.ground.pid("postgres")
        if pid is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(pid)
            postmaster.suspend()  # first, so that no session begins meanwhile
            self.frozen_postgres = [postmaster, *postmaster.children(recursive=True)]
        for process in self.frozen_postgres:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        return bool(self.frozen_postgres)

    def thaw_postgres(self) -> None:
        """SIGCONT for the processes that were stopped."""
        for process in reversed(self.frozen_postgres):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self.frozen_postgres = []

    # --------------------------------------------------------------------------------------------------- peace

    def calm(self) -> None:
        """End every fault that lasts and wait until everything is up again."""
        for name, life in self.lives.items():
            if life.frozen and self.is_up(name):
                self.thaw(name)
        self.thaw_postgres()
        self.signal_server("redis", signal.SIGCONT)
        self.behave()

        def wire_is_well() -> bool:
            try:
                with self.valkey() as server:
                    return bool(server.config_set("maxmemory", 0) and server.ping())
            except redis.RedisError:
                self.signal_server("redis", signal.SIGCONT)
                return False

        eventually(wire_is_well, within_s=_BACK_WITHIN_S, why="the wire answers again")
        self.ground.retry(lambda connection: connection.execute("select 1"), url=self.superuser_url)

        def all_ready() -> bool:
            self.keep_up()
            return all(self.is_ready(name) for name in self.lives)

        eventually(all_ready, within_s=_READY_WITHIN_S, every_s=0.1, why="every worker and scheduler is up again")

    def behave(self, target: str = "both", **behaviour: Any) -> None:
        """Set one provider's behaviour, or both's; without any, they are faultless."""
        wanted = {"latency_ms": list(LATENCY_MS), "fault": "none"} | behaviour
        names = ("openai", "anthropic") if target == "both" else (target,)
        self.fleet.behave(**dict.fromkeys(names, wanted))

    def end_processes(self) -> None:
        """SIGTERM for all workers and schedulers, and time to end well."""
        for name in self.lives:
            self.drain(name)
        for name, life in self.lives.items():
            process = self.fleet.processes[name]
            life.ended = True
            try:
                self._note_end(life, process.wait(_DRAINED_WITHIN_S))
            except subprocess.TimeoutExpired:
                self.own_ends.append(OwnEnd(name, None, f"it did not drain\n{self.said(life)[-2000:]}"))
                process.kill()

    def _note_disturbed(self, name: str) -> None:
        self.disturbed.update(_WORKER_ID.findall(self.said(self.lives[name])))

    def _note_end(self, life: Life, code: int) -> None:
        said = self.said(life)
        if life.told is signal.SIGKILL and code == -signal.SIGKILL:
            return
        # told before it had put up its handlers, a process dies of the signal itself: nothing was begun yet
        if life.told is not None and (code == 0 or (code == -signal.SIGTERM and ".ready" not in said)):
            return
        if "cannot_start" in said and any(reason in said for reason in _AWAY):
            return  # it looked for its servers at a bad moment; its supervisor starts it again
        self.own_ends.append(OwnEnd(life.name, code, said[-2000:]))


@contextmanager
def stage(ground: Ground, name: str) -> Iterator[Stage]:
    """A database, a simulator, workers and schedulers for the length of a block; all is up when it begins."""
    directory = ground.directory / name
    directory.mkdir()
    owner = ground.endpoints.require_owner()
    ground.retry(lambda connection: connection.execute(f"drop database if exists {name} with (force)"), url=owner)
    ground.retry(lambda connection: connection.execute(f"create database {name} template {TEMPLATE}"), url=owner)
    urls = Urls(
        app=ground.url("headrace_app", name),
        ops=ground.url("headrace_ops", name),
        owner=ground.url("postgres", name),
        producer=ground.url("headrace_producer", name),
        redis=ground.endpoints.redis_url,
    )
    fleet = Fleet(urls, directory)
    fleet.env |= SETTINGS
    client = Client(Database(urls.app, connections=4), open_wire(urls.redis, lanes=Settings().lane_weights))
    stage = Stage(ground, directory, name, fleet, client)
    try:
        with stage.valkey() as server:
            server.flushall()
        fleet.simulator()
        stage.behave()
        for worker in WORKERS:
            stage.lives[worker] = Life(worker, ("console.processes.worker", "--threads", str(THREADS)), {})
        for scheduler in SCHEDULERS:
            env = {"HEADRACE_OPS_DATABASE_URL": ground.url(scheduler, name)}
            stage.lives[scheduler] = Life(scheduler, ("console.processes.scheduler",), env)
        for one in stage.lives:
            stage.start(one)
        stage.calm()
        yield stage
    finally:
        stage.thaw_postgres()
        stage.signal_server("redis", signal.SIGCONT)
        client.close()
        fleet.close()
        with contextlib.suppress(psycopg.OperationalError):
            ground.retry(lambda connection: connection.execute(f"drop database {name} with (force)"), url=owner)
