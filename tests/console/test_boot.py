"""What a process's exit code tells its supervisor: start me again, or do not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from console.processes import worker as boot
from settings import Settings
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.lossy_proxy import PostgresProxy

AWAY = "postgresql://headrace_ops@/headrace?host=/nowhere"


def ended(module: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module],
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": "k", "HEADRACE_REDIS_URL": "unix:///nowhere/s", **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", ["console.processes.worker", "console.processes.scheduler"])
def test_a_service_that_is_away_is_worth_another_start(module: str) -> None:
    """A process that dies while Postgres restarts must not take the whole fleet down with it."""
    done = ended(module, HEADRACE_DATABASE_URL=AWAY, HEADRACE_OPS_DATABASE_URL=AWAY)
    assert done.returncode == 1, done.stderr
    assert "does not answer" in done.stderr


@pytest.mark.parametrize("module", ["console.processes.worker", "console.processes.scheduler"])
def test_a_setting_that_is_missing_is_not(module: str) -> None:
    done = ended(module)
    assert done.returncode == 2, done.stderr
    assert "is not set" in done.stderr


@pytest.mark.parametrize("module", ["console.processes.worker", "console.processes.scheduler"])
def test_nor_is_a_role_that_row_security_does_not_bind(module: str, urls: Urls) -> None:
    unsafe = {"HEADRACE_DATABASE_URL": urls.owner, "HEADRACE_OPS_DATABASE_URL": urls.owner}
    done = ended(module, **unsafe | {"HEADRACE_REDIS_URL": urls.redis})
    assert done.returncode == 2, done.stderr
    assert "row-level security would not hold" in done.stderr


def test_a_worker_outlives_a_connection_lost_at_its_very_start(urls: Urls, fleet: Fleet) -> None:
    fleet.simulator()
    with PostgresProxy(urls.app) as proxy:
        loss = proxy.lose(b"rolbypassrls", at_once=True)
        fleet.worker(HEADRACE_DATABASE_URL=proxy.url)
        assert loss.cut.is_set()
        assert "Traceback" not in fleet.log("worker")


def test_so_does_a_scheduler(urls: Urls, fleet: Fleet) -> None:
    with PostgresProxy(urls.ops) as proxy:
        loss = proxy.lose(b"rolbypassrls", at_once=True)
        process = fleet.start("scheduler", "console.processes.scheduler", HEADRACE_OPS_DATABASE_URL=proxy.url)
        eventually(lambda: "scheduler.ready" in fleet.log("scheduler") or process.poll() is not None)
        assert process.poll() is None, fleet.log("scheduler")
        assert loss.cut.is_set()
        assert "Traceback" not in fleet.log("scheduler")


@pytest.mark.parametrize(
    ("simulator", "openai", "anthropic", "simulated"),
    [
        ("http://127.0.0.1:7", "http://127.0.0.1:7/v1", "http://127.0.0.1:7", True),
        ("http://127.0.0.1:7", "http://127.0.0.1:7/v1", None, True),
        (None, "http://gateway/v1", None, False),
        (None, None, None, False),
    ],
)
def test_a_worker_says_that_it_is_simulated(
    simulator: str | None, openai: str | None, anthropic: str | None, simulated: bool
) -> None:
    settings = Settings(simulator_url=simulator, openai_base_url=openai, anthropic_base_url=anthropic)
    assert boot._is_simulated(settings) is simulated
