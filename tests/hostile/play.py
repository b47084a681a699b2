"""A hostile tenant beside ordinary ones, on real processes: what the ordinary ones notice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from producers import Client
from queues.broker_url import open_wire
from settings import Settings
from storage.catalogue import tenants
from storage.db.database import Database
from storage.fleet import audit
from storage.money import limits
from storage.money.limits import SlotScope
from tests.hostile.attacker_process import attacking
from tests.support.fleet import Fleet, Urls, eventually

WORKERS = ("worker-1", "worker-2")
THREADS = 16
SETTINGS = {
    "HEADRACE_CALL_TIMEOUT_S": "5",
    "HEADRACE_MAX_ATTEMPTS": "2",
    "HEADRACE_CLAIM_TIMEOUT_S": "60",
    "HEADRACE_WORKER_SILENT_S": "5",
    "HEADRACE_DRAIN_S": "10",
}
JOBS_PER_S = 20.0  # of all ordinary tenants together
_OTHERS_END_WITHIN_S = 60.0

_WAITS = """
    select count(*)::integer as jobs, count(*) filter (where outcome = 'succeeded')::integer as succeeded,
           percentile_disc(array[0.5, 0.99, 1]) within group (
               order by extract(epoch from coalesce(first_claimed_at, headrace.now()) - created_at)) as waits
    from headrace.jobs where tenant_id = any (%(others)s) and created_at >= %(since)s
"""
_OF_OTHERS = {
    "a job of an ordinary tenant did not succeed": """
        select id, outcome, reason, error from headrace.jobs where tenant_id = any (%(others)s)
          and outcome is distinct from 'succeeded'""",
    "a call of an ordinary tenant is not paid as it was": """
        select id, job_id, status, error_code, cost_usd from headrace.runs where tenant_id = any (%(others)s)
          and (status <> 'succeeded' or over_reserved_usd > 0)""",
    "a job of an ordinary tenant was asked more than once": """
        select job_id, count(*) from headrace.runs where tenant_id = any (%(others)s) group by 1 having count(*) > 1""",
    "a job of an ordinary tenant was reclaimed": """
        select e.job_id, e.detail from headrace.job_events e where e.tenant_id = any (%(others)s)
          and e.event = 'reclaimed'""",
    "a job of the hostile tenant is poison, and no worker died": """
        select id, error from headrace.jobs where tenant_id = %(hostile)s and reason = 'poison'""",
    "a job of the hostile tenant was reclaimed": """
        select e.job_id, e.detail from headrace.job_events e where e.tenant_id = %(hostile)s
          and e.event = 'reclaimed'""",
}


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the ordinary tenants' jobs waited from enqueue to claim, s."""

    jobs: int
    median_s: float
    p99_s: float
    longest_s: float

    def __str__(self) -> str:
        figures = [f"{1000 * one:.0f} ms" for one in (self.median_s, self.p99_s, self.longest_s)]
        return f"{self.jobs} jobs, waits: median {figures[0]}, p99 {figures[1]}, longest {figures[2]}"


@dataclass(slots=True)
class Scene:
    """The processes and tenants of one play."""

    urls: Urls
    fleet: Fleet
    client: Client
    hostile: UUID
    others: list[UUID]
    provider_url: str
    breaches: list[str] = field(default_factory=list)

    def play(self, names: Sequence[str], *, seconds: float, seed: int) -> Waits:
        """Let the ordinary tenants work for so long while the hostile one plays the attacks that are named."""
        with psycopg.connect(self.urls.ops, autocommit=True, row_factory=dict_row) as connection:
            since = connection.execute("select headrace.now() as now").fetchone()
        with self._attacked(names, seed):
            self._ordinary_work(seconds)
        self._wait_for_others()
        with psycopg.connect(self.urls.ops, autocommit=True, row_factory=dict_row) as connection:
            row = connection.execute(_WAITS, {"others": self.others, "since": since and since["now"]}).fetchone()
        assert row is not None and row["jobs"]
        return Waits(row["jobs"], *map(float, row["waits"]))

    def judge(self) -> list[str]:
        """Everything that should not be, in words."""
        found = list(self.breaches)
        with psycopg.connect(self.urls.ops, autocommit=True, row_factory=dict_row) as connection:
            for what, question in _OF_OTHERS.items():
                rows = connection.execute(question, {"others": self.others, "hostile": self.hostile}).fetchall()
                found += [f"{what}: {row}" for row in rows[:5]]
                found += [f"{what}: {len(rows) - 5} more"] * (len(rows) > 5)
            found += [f"{one.check}: {one.subject} {dict(one.facts)}" for one in audit.findings(connection)]
        for name in (*WORKERS, "scheduler"):
            process = self.fleet.processes[name]
            log = self.fleet.log(name)
            if process.poll() is not None:
                found.append(f"{name} ended by itself with {process.returncode}: {log[-2000:]}")
            found += [f"a fault in {name}: {line[:2000]}" for line in log.splitlines() if "job.fault" in line][:3]
            found += [f"{name} restarted"] * (log.count(f"{name.split('-', maxsplit=1)[0]}.ready") > 1)
        fetched = self.fleet._http("GET", "/fetched")
        found += [f"{fetched} documents were fetched for a schema"] * (fetched > 0)
        return found

    # ------------------------------------------------------------------------------------------------ the load

    def _ordinary_work(self, seconds: float) -> None:
        began, asked = time.monotonic(), 0
        while (now_s := time.monotonic() - began) < seconds:
            if asked > now_s * JOBS_PER_S:
                time.sleep(0.005)
                continue
            tenant = self.others[asked % len(self.others)]
            message = {"role": "user", "content": f"How high is weir {asked}?"}
            self.client.enqueue(tenant_id=tenant, user_id=f"user {asked % 7}", feature="chat", messages=[message])
            asked += 1

    def _attacked(self, names: Sequence[str], seed: int) -> AbstractContextManager[None]:
        if not names:
            return nullcontext()
        return attacking(
            names,
            urls=self.urls,
            hostile=self.hostile,
            provider_url=self.provider_url,
            seed=seed,
            breaches=self.breaches,
        )

    def _wait_for_others(self) -> None:
        def all_ended() -> bool:
            with psycopg.connect(self.urls.ops, autocommit=True) as connection:
                row = connection.execute(
                    "select not exists (select from headrace.queue where tenant_id = any (%s))", [self.others]
                ).fetchone()
            return row == (True,)

        try:
            eventually(all_ended, within_s=_OTHERS_END_WITHIN_S, every_s=0.2, why="the ordinary tenants' jobs end")
        except AssertionError as error:
            self.breaches.append(str(error))


@contextmanager
def scene(urls: Urls, directory: Path, *, ordinary: int) -> Iterator[Scene]:
    """Workers, a scheduler, a provider and the tenants for the length of a block."""
    fleet = Fleet(urls, directory)
    fleet.env |= SETTINGS
    port_file = directory / "provider-port"
    fleet.start("provider", "tests.hostile.provider", "--port-file", str(port_file))
    eventually(port_file.exists, why="the provider listens")
    fleet.simulator_url = f"http://127.0.0.1:{port_file.read_text()}"
    fleet.env |= {
        "OPENAI_API_KEY": "sim-openai",
        "ANTHROPIC_API_KEY": "sim-anthropic",
        "HEADRACE_OPENAI_BASE_URL": f"{fleet.simulator_url}/v1",
        "HEADRACE_ANTHROPIC_BASE_URL": fleet.simulator_url,
    }
    with psycopg.connect(urls.ops, autocommit=True, row_factory=dict_row) as connection:
        others: list[Any] = [
            tenants.add(connection, name=f"ordinary {n}", plan="pro", daily_cap_usd=Decimal(1000))
            for n in range(ordinary)
        ]
        hostile = tenants.add(connection, name="hostile", plan="pro", daily_cap_usd=Decimal(1000))
        limits.set_concurrency(connection, hostile, SlotScope.FEATURE, "support_reply", 1, actor="the play")
    wire = open_wire(urls.redis, lanes=Settings().lane_weights)
    with Database(urls.app, connections=2) as database:
        try:
            for name in WORKERS:
                fleet.worker(name, threads=THREADS)
            fleet.start("scheduler", "console.processes.scheduler")
            eventually(lambda: "scheduler.ready" in fleet.log("scheduler"), why="scheduler.ready")
            yield Scene(urls, fleet, Client(database, wire), hostile, others, fleet.simulator_url)
        finally:
            fleet.close()
            wire.close()
