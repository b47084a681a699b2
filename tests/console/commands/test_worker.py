"""``headrace worker`` and ``headrace scheduler`` as processes: they refuse, they come up again, they drain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from tests.console.commands.conftest import BINARY, Headrace
from tests.support.fleet import Urls, eventually

AWAY_POSTGRES = "postgresql://headrace_app:geheim@127.0.0.1:1/headrace"
AWAY_REDIS = "redis://me:geheim@127.0.0.1:1/0"


class Running:
    """A command that runs until it is told to stop."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def until(self, name: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait for an event to have been logged so often."""

        def enough() -> list[dict[str, Any]] | None:
            assert self.process.poll() is None, self._log.read_text()
            found = self.events(name)
            return found if len(found) >= times else None

        return eventually(enough, why=f"{times} × {name}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*arguments: str) -> Running:
        log = tmp_path / f"{arguments[0]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [BINARY, *arguments, "--json"], env=environment, cwd=tmp_path, stdout=out, stderr=out
            )
        running.append(Running(process, log))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(10)


def test_a_worker_process_that_is_killed_comes_up_again_and_all_drain(start: Callable[..., Running]) -> None:
    worker = start("worker", "--processes", "2", "--threads", "2")
    worker.until("worker.ready", 2)
    pids = {one["name"]: one["pid"] for one in worker.until("process.started", 2)}

    os.kill(pids["worker-1"], signal.SIGKILL)

    worker.until("worker.ready", 3)
    (died,) = worker.events("process.died")
    assert (died["name"], died["code"], died["restart_in_s"]) == ("worker-1", -9, 0.5)
    assert worker.events("process.started")[2]["name"] == "worker-1"
    children = psutil.Process(worker.process.pid).children(recursive=True)
    assert len(children) == 2
    assert psutil.pid_exists(pids["worker-2"])
    assert worker.end() == 0
    assert len(worker.events("worker.stopped")) == 2
    assert not any(child.is_running() for child in children)


def test_worker_processes_do_not_outlive_a_killed_command(start: Callable[..., Running]) -> None:
    worker = start("worker", "--threads", "1")
    worker.until("worker.ready")
    children = psutil.Process(worker.process.pid).children(recursive=True)

    worker.end(signal.SIGKILL)

    eventually(lambda: not any(child.is_running() for child in children), why="the orphans drain")
    assert worker.events("worker.orphaned")


def test_a_scheduler_wakes_what_is_due_and_ends_when_told(
    start: Callable[..., Running], client: Client, app: Database, tenant: UUID
) -> None:
    hi = [{"role": "user", "content": "Hi"}]
    job, claim_id = client.enqueue(tenant_id=tenant, user_id="ada", feature="chat", messages=hi), new_id()
    with app.connection() as connection:  # put off by its worker, until now
        jobs.claim(
            connection, tenant, "interactive", claim_id=claim_id, worker_id=new_id(), timeout_s=60, turns_per_tenant=64
        )
        jobs.settle(connection, tenant, job, claim_id, run=None, verdict="defer", outcome={"reason": "x", "delay_s": 0})
    scheduler = start("scheduler")

    def is_queued() -> bool:
        with app.as_tenant(tenant) as connection:
            view = jobs.show(connection, job)
        return view is not None and view.state == "queued"

    eventually(is_queued, why="what is due is released")
    assert scheduler.end() == 0
    assert scheduler.events("scheduler.stopped")


def test_a_scheduler_process_that_is_killed_comes_up_again(start: Callable[..., Running]) -> None:
    scheduler = start("scheduler")
    (started,) = scheduler.until("process.started")
    scheduler.until("scheduler.ready")

    os.kill(started["pid"], signal.SIGKILL)

    scheduler.until("scheduler.ready", 2)
    (died,) = scheduler.events("process.died")
    assert (died["name"], died["code"]) == ("scheduler", -9)
    assert scheduler.end() == 0
    assert scheduler.events("scheduler.stopped")


def test_ctrl_c_ends_a_scheduler_too(start: Callable[..., Running]) -> None:
    scheduler = start("scheduler")
    scheduler.until("scheduler.ready")

    assert scheduler.end(signal.SIGINT) == 0


def test_a_scheduler_does_not_outlive_its_parent(environment: dict[str, str], tmp_path: Path) -> None:
    log = (tmp_path / "scheduler.log").open("wb")
    shell = subprocess.Popen(
        ["/bin/sh", "-c", '"$0" scheduler --json --parent $$ & echo $!; wait', BINARY],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log,
    )  # fmt: skip
    assert shell.stdout is not None
    with log, shell:
        scheduler = psutil.Process(int(shell.stdout.readline()))
        running = Running(shell, tmp_path / "scheduler.log")
        running.until("scheduler.ready")

        shell.kill()
        shell.stdout.close()

        eventually(lambda: not scheduler.is_running(), why="the orphan ends")
        assert running.events("process.orphaned")


@pytest.mark.parametrize(
    ("command", "variable", "url", "code", "shown"),
    [
        ("worker", "HEADRACE_DATABASE_URL", AWAY_POSTGRES, "postgres_unavailable", "headrace_app:***@127.0.0.1:1/head"),
        ("worker", "HEADRACE_REDIS_URL", AWAY_REDIS, "redis_unavailable", "redis://me:***@127.0.0.1:1/0"),
        ("scheduler", "HEADRACE_OPS_DATABASE_URL", AWAY_POSTGRES, "postgres_unavailable", "***@127.0.0.1:1/headrace"),
        ("scheduler", "HEADRACE_REDIS_URL", AWAY_REDIS, "redis_unavailable", "redis://me:***@127.0.0.1:1/0"),
    ],
)
def test_a_service_that_is_away_at_start_is_named_and_its_password_is_not(
    headrace: Headrace, command: str, variable: str, url: str, code: str, shown: str
) -> None:
    done = headrace(command, "--json", env={variable: url})

    assert (done.code, done.json["error"]["code"]) == (2, code)
    assert shown in done.json["error"]["message"]
    assert variable in done.json["error"]["hint"], "what is really set"
    assert done.json["error"]["reason"] == "refused"
    assert "geheim" not in done.out + done.err


NO_PROVIDER = dict.fromkeys(
    ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HEADRACE_OPENAI_BASE_URL", "HEADRACE_ANTHROPIC_BASE_URL")
)


@pytest.mark.parametrize(
    ("lost", "field"),
    [
        (NO_PROVIDER, "OPENAI_API_KEY, ANTHROPIC_API_KEY"),
        ({"HEADRACE_REDIS_URL": None}, "HEADRACE_REDIS_URL"),
        ({"HEADRACE_DATABASE_URL": None}, "HEADRACE_DATABASE_URL"),
        (dict.fromkeys(f"HEADRACE_{one}DATABASE_URL" for one in ("", "OPS_", "OWNER_")), "HEADRACE_DATABASE_URL"),
    ],
)
def test_a_worker_makes_up_for_no_variable_that_is_lost(
    headrace: Headrace, environment: dict[str, str], lost: dict[str, str | None], field: str
) -> None:
    done = headrace("worker", "--json", env=lost)

    assert (done.code, done.json["error"]["code"], done.json["error"]["field"]) == (2, "configuration", field)
    assert not Path(environment["HEADRACE_DIR"]).exists(), "nothing private was started"


@pytest.mark.parametrize(
    ("command", "variable"), [("worker", "HEADRACE_DATABASE_URL"), ("scheduler", "HEADRACE_OPS_DATABASE_URL")]
)
def test_a_role_that_could_bypass_row_security_is_refused(
    headrace: Headrace, urls: Urls, command: str, variable: str
) -> None:
    done = headrace(command, "--json", env={variable: urls.owner})

    assert (done.code, done.json["error"]["code"], done.json["error"]["field"]) == (2, "unsafe_role", variable)


def test_a_database_that_is_not_migrated_is_refused(headrace: Headrace, urls: Urls) -> None:
    with Database(urls.owner) as owner, owner.connection() as connection:
        connection.execute("delete from headrace.schema_migrations where name = '0014_chunks.sql'")

    done = headrace("worker", "--json")

    assert (done.code, done.json["error"]["code"]) == (2, "migration")
    assert "0014_chunks.sql" in done.json["error"]["message"]


def test_a_worker_that_cannot_start_ends_the_command(headrace: Headrace) -> None:
    done = headrace("worker", env={"HEADRACE_OPENAI_BASE_URL": "gopher://x"})

    assert done.code == 2
    assert "a base URL begins with http" in done.err
    assert "process.died" not in done.err, "it is not tried again"
