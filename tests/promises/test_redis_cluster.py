"""With a Redis Cluster as the wire: one variable switches, and every job ends once though its master is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers import Client
from queues.broker_url import open_wire
from settings import Settings
from storage.db.database import Database
from tests.support.arithmetic_jobs import JOBS, all_ended_well, ended, request, staff
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.valkey_cluster import PrivateCluster

LANES = Settings().lane_weights


@pytest.fixture
def cluster_fleet(cluster: PrivateCluster, urls: Urls, tmp_path: Path) -> Iterator[Fleet]:
    """Processes that know of no other Redis: their request rates are on the cluster too."""
    fleet = Fleet(urls, tmp_path)
    fleet.env["HEADRACE_REDIS_URL"] = cluster.url
    yield fleet
    fleet.close()


@pytest.fixture
def cluster_client(cluster: PrivateCluster, app: Database) -> Iterator[Client]:
    client = Client(app, open_wire(cluster.url, lanes=LANES))
    yield client
    client.close()


def test_all_jobs_end_once_though_masters_are_killed_wiped_and_relieved(
    cluster: PrivateCluster, cluster_fleet: Fleet, cluster_client: Client, ops: Database
) -> None:
    fleet = cluster_fleet
    tenants = staff(fleet, ops)
    batch = cluster_client.enqueue_many([request(tenants[i % 5], i) for i in range(JOBS)])
    assert batch.refused == []

    eventually(lambda: ended(ops) >= JOBS * 0.2, within_s=60, why="jobs run")
    cluster.kill()
    # a hint that cannot be given is not a reason to refuse a job
    late = cluster_client.enqueue(**request(tenants[0], 1))
    cluster.start()
    eventually(lambda: ended(ops) >= JOBS * 0.4, within_s=60, why="jobs run again")
    cluster.flush(scripts=True)
    eventually(lambda: ended(ops) >= JOBS * 0.6, within_s=60, why="jobs run again")
    cluster.move(cluster.others[0])
    eventually(lambda: ended(ops) == JOBS + 1, within_s=60, why=f"every job ends:\n{fleet.log('worker-1')[-3000:]}")

    check_books(ops, fleet.journal())
    assert cluster_client.result(late, tenant_id=tenants[0]).output
    all_ended_well(fleet, ops)


def test_doctor_finds_the_cluster(cluster: PrivateCluster, cluster_fleet: Fleet, urls: Urls) -> None:
    env = cluster_fleet.env | {"HEADRACE_OWNER_DATABASE_URL": urls.owner, "OPENAI_API_KEY": "none"}
    done = subprocess.run(
        [sys.executable, "-m", "console.main", "doctor", "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (wire,) = [one for one in json.loads(done.stdout)["findings"] if one["part"] == "wire"]
    assert wire["verdict"] in ("ok", "note"), wire
    assert "one of 3 masters of a cluster" in wire["says"]
