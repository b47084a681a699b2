"""A service that forks gets its own answers in every process: gunicorn's preload, Celery's prefork, multiprocessing."""

from __future__ import annotations

import json
import subprocess
import sys
from uuid import UUID

import pytest

from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.fleet import Urls
from tests.support.rabbitmq import PrivateRabbit
from tests.support.transactions import enqueue_job
from tests.support.valkey_cluster import PrivateCluster

WAYS = ("every_fork", "exec", "multiprocessing_fork", "multiprocessing_spawn", "gevent")


@pytest.fixture
def jobs(app: Database, ops: Database) -> list[tuple[UUID, UUID]]:
    """Some jobs of three tenants."""
    tenants = [new_tenant(ops, f"T{n}") for n in range(3)]
    with app.connection() as connection:
        return [(tenant, enqueue_job(connection, tenant)) for tenant in tenants for _ in range(3)]


def serve(way: str, urls: Urls, jobs: list[tuple[UUID, UUID]], broker_url: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            *(["tests.support.gevent_service"] if way == "gevent" else ["tests.support.forking_service", way]),
        ],
        env={
            "PATH": "",
            "HEADRACE_DATABASE_URL": urls.app,
            "HEADRACE_BROKER_URL": broker_url,
            "HEADRACE_TEST_JOBS": json.dumps([[str(tenant), str(job)] for tenant, job in jobs]),
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr, done.stderr[-4000:]


@pytest.mark.parametrize("way", WAYS)
def test_every_process_gets_its_own_answers(way: str, urls: Urls, jobs: list[tuple[UUID, UUID]]) -> None:
    serve(way, urls, jobs, urls.redis)


def test_over_a_cluster(urls: Urls, jobs: list[tuple[UUID, UUID]], cluster: PrivateCluster) -> None:
    serve("fork", urls, jobs, cluster.url)


def test_over_rabbitmq(urls: Urls, jobs: list[tuple[UUID, UUID]], rabbit: PrivateRabbit) -> None:
    serve("fork", urls, jobs, rabbit.url)
