"""Postgres and Redis are stopped, killed and started again while jobs run: nothing is lost, all end, the books agree.

The servers are this module's own, so that no other test is hurt.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from console.endpoints import start, status, stop
from console.provisioning import provision
from errors import PostgresUnavailableError
from producers import Client
from queues.broker_url import open_wire
from settings import Settings
from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually

JOBS = 200
PARTITION_S = float(os.environ.get("HEADRACE_TEST_PARTITION_S", "12"))  # 60 in the long run
LANES = Settings().lane_weights
_numbers = itertools.count(1)


@dataclass
class Services:
    """A private Postgres and Valkey that may be hurt."""

    directory: Path
    database: str = "headrace"

    def start(self) -> Urls:
        endpoints = start(
            self.directory,
            which={"postgres", "redis"},
            settings=Settings(simulator_url="http://127.0.0.1:9"),
            prepare=lambda _owner_url: None,
        )
        app, ops, owner = (
            url.replace("/headrace?", f"/{self.database}?")
            for url in (endpoints.database_url, endpoints.require_ops(), endpoints.require_owner())
        )
        return Urls(app=app, ops=ops, owner=owner, producer="", redis=endpoints.redis_url)

    def of_a_copy(self) -> Services:
        """The same servers with a database of its own in them."""
        name = f"copy_{next(_numbers)}"
        with psycopg.connect(Services(self.directory).start().owner, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {} template headrace").format(sql.Identifier(name)))
        return Services(self.directory, name)

    def stop(self) -> None:
        assert stop(self.directory)

    def kill(self, name: str, how: signal.Signals) -> None:
        """End one server the hard way, and wait until its supervisor has started it again."""
        before = self._one(name)
        assert before.pid is not None
        os.kill(before.pid, how)
        eventually(
            lambda: self._one(name).condition == "running" and self._one(name).restarts > before.restarts,
            why=f"{name} is started again",
        )

    @contextmanager
    def silent(self, name: str) -> Iterator[None]:
        """A server that accepts connections and never answers, as behind a network that drops packets."""
        pid = self._one(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _one(self, name: str) -> Any:
        return next(one for one in status(self.directory) if one.name == name)


@pytest.fixture(scope="module")
def private() -> Iterator[Services]:
    directory = Path(tempfile.mkdtemp(prefix="headrace-come-and-go-"))
    directory.chmod(0o755)
    services = Services(directory)
    try:
        provision(services.start().owner, lanes=LANES)
        yield services
    finally:
        stop(directory)
        shutil.rmtree(directory, ignore_errors=True)


@dataclass
class Work:
    """Two workers and a scheduler with 200 jobs before them."""

    services: Services
    fleet: Fleet
    ops: Database
    client: Client
    tenants: list[UUID]
    ids: list[tuple[UUID, UUID]]

    def ended(self) -> int:
        """How many jobs have ended; waits for a Postgres that is away."""
        return self._count(
            "select count(*)::integer as n from headrace.jobs where tenant_id = any (%s) and outcome is not null"
        )

    def running(self) -> int:
        return self._count(
            "select count(*)::integer as n from headrace.queue where tenant_id = any (%s) and state = 'running'"
        )

    def in_the_middle(self, share: float) -> None:
        """Wait until this share of the jobs has ended, while others run."""
        eventually(lambda: self.ended() >= JOBS * share and self.running() > 0, within_s=60, why="jobs run")
        assert self.ended() < JOBS

    def check_all_ended(self) -> None:
        eventually(
            lambda: self.ended() == JOBS, within_s=120, why=f"every job ends:\n{self.fleet.log('worker-1')[-2000:]}"
        )
        with Database(self.fleet.urls.ops) as ops:
            check_books(ops, self.fleet.journal())
            with ops.connection() as connection:
                rows = connection.execute(
                    "select outcome, count(*)::integer as n from headrace.jobs where tenant_id = any (%s) group by 1",
                    [self.tenants],
                ).fetchall()
        assert {row["outcome"]: row["n"] for row in rows} == {"succeeded": JOBS}
        for tenant, job_id in self.ids[::20]:
            assert self.client.result(job_id, tenant_id=tenant).output
        for name in ("worker-1", "worker-2", "scheduler"):
            assert self.fleet.processes[name].poll() is None, self.fleet.log(name)

    def _count(self, statement: str) -> int:
        (row,) = self.ops.retry_until_answered(
            lambda connection: connection.execute(statement, [self.tenants]).fetchall()
        )
        return int(row["n"])


@pytest.fixture
def work(private: Services, tmp_path: Path) -> Iterator[Work]:
    services = private.of_a_copy()
    urls = services.start()
    fleet = Fleet(urls, tmp_path)
    with Database(urls.ops) as ops, Database(urls.app) as app:
        client = Client(app, open_wire(urls.redis, lanes=LANES))
        try:
            fleet.simulator(openai={"latency_ms": 150}, anthropic={"latency_ms": 150})
            fleet.start("scheduler", "console.processes.scheduler")
            for name in ("worker-1", "worker-2"):
                fleet.worker(name, threads=4)
            tenants = [new_tenant(ops, f"T{i}") for i in range(4)]
            requests = [
                {
                    "tenant_id": tenants[i % 4],
                    "user_id": f"u-{i % 3}",
                    "feature": "chat",
                    "prompt": "chat",
                    "variables": {"message": f"What is {i} times {i + 1}?"},
                    "max_output_tokens": 100,
                }
                for i in range(JOBS)
            ]
            batch = client.enqueue_many(requests)
            ids = [(tenants[i % 4], one) for i, one in enumerate(batch.job_ids) if one is not None]
            assert len(ids) == JOBS
            yield Work(services, fleet, ops, client, tenants, list(ids))
        finally:
            fleet.close()
            client.close()


def test_postgres_is_stopped_and_started_again_and_later_crashes(work: Work) -> None:
    work.in_the_middle(0.1)
    work.services.stop()  # and the wire with it
    eventually(
        lambda: all("postgres.repeat" in work.fleet.log(name) for name in ("worker-1", "worker-2", "scheduler")),
        why="everybody has met the closed door",
    )
    with pytest.raises(PostgresUnavailableError, match="does not answer"):
        Database(work.fleet.urls.app)
    assert work.services.start() == work.fleet.urls

    work.in_the_middle(0.5)
    work.services.kill("postgres", signal.SIGQUIT)  # an immediate shutdown: no checkpoint, recovery at the next start
    work.check_all_ended()


def test_redis_is_killed_again_and_again_with_all_that_it_knew(work: Work) -> None:
    for share in (0.1, 0.3, 0.6):
        work.in_the_middle(share)
        work.services.kill("redis", signal.SIGKILL)
    # a hint that cannot be given is not a reason to refuse a job
    late = work.client.enqueue(
        tenant_id=work.tenants[0], user_id="u", feature="chat", messages=[{"role": "user", "content": "And now?"}]
    )
    assert work.client.result(late, tenant_id=work.tenants[0], timeout=60).state.ended
    eventually(lambda: work.ended() == JOBS + 1, within_s=120, why="every job ends")
    with Database(work.fleet.urls.ops) as ops:
        check_books(ops, work.fleet.journal())


def test_redis_is_cut_off_for_long(work: Work) -> None:
    """What runs goes on to its end, what comes in is taken in, and all of it starts when the wire is back."""
    work.in_the_middle(0.2)
    late = []
    with work.services.silent("redis"):
        until = time.monotonic() + PARTITION_S
        eventually(lambda: work.running() == 0, within_s=60, why="what was claimed ends without the wire")
        while time.monotonic() < until:
            late.append(
                work.client.enqueue(
                    tenant_id=work.tenants[0],
                    user_id="u",
                    feature="chat",
                    messages=[{"role": "user", "content": "And now?"}],
                )
            )
            time.sleep(0.1)
        assert len(late) > PARTITION_S, "a silent wire does not hold up who enqueues"
        for name in ("worker-1", "worker-2", "scheduler"):
            assert work.fleet.processes[name].poll() is None, work.fleet.log(name)
    eventually(lambda: work.ended() == JOBS + len(late), within_s=120, why="every job ends")
    with Database(work.fleet.urls.ops) as ops:
        check_books(ops, work.fleet.journal())
