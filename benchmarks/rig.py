"""What the system benchmarks run on: private services, worker processes and a client, all ended with the block."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from console.endpoints import Endpoints, start, stop
from producers import Client
from producers.enqueue import connect
from queues.broker_url import open_wire
from settings import Settings
from storage.catalogue import tenants
from storage.db.database import Database
from workers.scheduler import Scheduler


@dataclass
class Rig:
    """Real services and processes for one benchmark."""

    endpoints: Endpoints
    settings: Settings
    client: Client
    ops: Database
    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def tenant(self, name: str = "bench", plan: str = "enterprise") -> UUID:
        """A new tenant."""
        with self.ops.connection() as connection:
            return tenants.add(connection, name=name, plan=plan, same_name=True)

    def worker(self, *, threads: int, **settings: str) -> subprocess.Popen[bytes]:
        """Start one worker process, with more environment if given, and wait until it takes turns."""
        log = self.directory / f"worker-{len(self.processes)}.log"
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), **self.endpoints.environment(), **settings}
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "console.processes.worker", "--threads", str(threads)],
                env=env,
                stdout=out,
                stderr=out,
            )
        self.processes.append(process)
        while "worker.ready" not in log.read_text():
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.02)
        return process

    def behave(self, **by_provider: Any) -> None:
        """Set the simulator's behaviour."""
        request = urllib.request.Request(
            f"{self.endpoints.simulator_url}/_sim/behaviour", method="PUT", data=json.dumps(by_provider).encode(),
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        urllib.request.urlopen(request, timeout=5).close()

    def wait_ended(self, jobs: int, *, within_s: float = 300) -> None:
        """Block until so many jobs have ended in all."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            if self.query("select count(*) as n from headrace.jobs where outcome is not null")[0]["n"] >= jobs:
                return
            time.sleep(0.05)
        raise SystemExit(f"{jobs} jobs did not end within {within_s} s")

    def wait(self, tenant: UUID, left: int, *, within_s: float = 300) -> None:
        """Block until no more than so many jobs of a tenant are left."""
        give_up = time.monotonic() + within_s
        while self.query(f"select count(*) as n from headrace.queue where tenant_id = '{tenant}'")[0]["n"] > left:
            if time.monotonic() > give_up:
                raise SystemExit(f"more than {left} jobs were left after {within_s} s")
            time.sleep(0.02)

    def wait_running(self, tenant: UUID, *, at_least: int = 0, at_most: int = 2**31, within_s: float = 60) -> None:
        """Block until so many jobs of a tenant run."""
        give_up = time.monotonic() + within_s
        running = f"select count(*) as n from headrace.queue where tenant_id = '{tenant}' and state = 'running'"
        while not at_least <= self.query(running)[0]["n"] <= at_most:
            if time.monotonic() > give_up:
                raise SystemExit(f"never between {at_least} and {at_most} jobs ran within {within_s} s")
            time.sleep(0.02)

    def settled(self, tenant: UUID, *, within_s: float = 600) -> None:
        """Block until no job of a tenant is queued or running: all have ended or wait for something."""
        give_up = time.monotonic() + within_s
        busy = f"select count(*) as n from headrace.queue where tenant_id = '{tenant}' and state <> 'scheduled'"
        while self.query(busy)[0]["n"]:
            if time.monotonic() > give_up:
                raise SystemExit(f"jobs were still busy after {within_s} s")
            time.sleep(0.1)

    def cap(self, tenant: UUID, usd: Decimal) -> None:
        """Set a tenant's cap of a rolling day, USD."""
        with self.ops.connection() as connection:
            tenants.set_cap(connection, tenant, usd, actor="a benchmark")

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Rows of a statement, as headrace_ops."""
        with self.ops.connection() as connection:
            return connection.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return]


@contextmanager
def rig(*, scheduler: bool = True, track_functions: bool = False, broker_url: str | None = None) -> Iterator[Rig]:
    """A fresh rig: private Postgres, Valkey and simulator in a directory of its own.

    :param broker_url: another wire than its Valkey.
    """
    directory = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
    directory.chmod(0o755)
    endpoints = start(directory)
    if broker_url is not None:
        endpoints = replace(endpoints, broker_url=broker_url)
    if track_functions:  # before the first connection
        with psycopg.connect(endpoints.require_owner(), autocommit=True) as owner:
            owner.execute("alter database headrace set track_functions = 'all'")
    settings = Settings.model_validate(
        {"database_url": endpoints.database_url, "redis_url": endpoints.redis_url, "broker_url": endpoints.broker_url}
    )
    stopping = threading.Event()
    made = Rig(endpoints, settings, connect(settings), Database(endpoints.require_ops()), directory)
    with made.ops.connection() as connection:  # a benchmark asks more in a second than a person in a minute
        connection.execute("update headrace.plans set user_per_minute = null")
    wire = open_wire(endpoints.broker_url, lanes=settings.lane_weights)
    chores = Scheduler(
        database=made.ops, wire=wire, worker_silent_s=10, max_deaths=3, turns_per_tenant=64, idempotency_days=30
    )
    thread = threading.Thread(target=chores.run, args=[stopping], daemon=True)
    try:
        if scheduler:
            thread.start()
        yield made
    finally:
        stopping.set()
        for process in made.processes:
            process.terminate()
        for process in made.processes:
            process.wait(60)
        if scheduler:
            thread.join(10)
        made.client.close()
        made.ops.close()
        stop(directory)
        shutil.rmtree(directory, ignore_errors=True)
