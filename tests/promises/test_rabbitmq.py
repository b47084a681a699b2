"""With RabbitMQ as the wire: one variable switches, and every promise stands when the node is killed in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from producers import Client
from queues.rabbitmq.partitions import LIGHT, queue_name, queue_names
from queues.rabbitmq.wire import RabbitWire
from settings import Settings
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from tests.conftest import new_tenant
from tests.support.arithmetic_jobs import JOBS, all_ended_well, ended, request, staff
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.rabbitmq import PrivateRabbit
from tests.support.wires import PATIENT_S
from workers.scheduler import Scheduler

pytestmark = pytest.mark.rabbitmq
LANES = Settings().lane_weights


@pytest.fixture
def rabbit_fleet(rabbit: PrivateRabbit, urls: Urls, tmp_path: Path) -> Iterator[Fleet]:
    """Processes that are told of RabbitMQ by the one variable."""
    rabbit.settle(list(LANES))
    fleet = Fleet(urls, tmp_path)
    fleet.env["HEADRACE_BROKER_URL"] = rabbit.url
    yield fleet
    fleet.close()


@pytest.fixture
def rabbit_client(rabbit: PrivateRabbit, app: Database) -> Iterator[Client]:
    client = Client(app, RabbitWire(rabbit.url, lanes=LANES, answer_within_s=PATIENT_S))
    yield client
    client.close()


def turns_on(rabbit: PrivateRabbit, lane: str) -> int:
    """Turns that no process holds."""
    with rabbit.connect() as connection:
        channel = connection.channel()
        return sum(channel.queue_declare(name, passive=True).method.message_count for name in queue_names(lane))


def test_all_jobs_end_once_though_the_node_is_killed_and_its_queues_are_deleted(
    rabbit: PrivateRabbit, rabbit_fleet: Fleet, rabbit_client: Client, ops: Database
) -> None:
    fleet = rabbit_fleet
    tenants = staff(fleet, ops)
    batch = rabbit_client.enqueue_many([request(tenants[i % 5], i) for i in range(JOBS)])
    assert batch.refused == []

    eventually(lambda: ended(ops) >= JOBS * 0.2, within_s=60, why="jobs run")
    rabbit.kill()
    # a hint that cannot be given is not a reason to refuse a job
    late = rabbit_client.enqueue(**request(tenants[0], 1))
    rabbit.start()
    eventually(lambda: ended(ops) >= JOBS * 0.6, within_s=120, why="jobs run again")
    rabbit.wipe(list(LANES))
    eventually(lambda: ended(ops) == JOBS + 1, within_s=120, why=f"every job ends:\n{fleet.log('worker-1')[-3000:]}")

    check_books(ops, fleet.journal())
    assert rabbit_client.result(late, tenant_id=tenants[0]).output
    all_ended_well(fleet, ops)


def test_a_flood_puts_no_more_turns_on_the_wire_than_a_tenants_cap(
    rabbit: PrivateRabbit, rabbit_client: Client, ops: Database
) -> None:
    cap = Settings().turns_per_tenant
    ada, ben = new_tenant(ops, "Ada"), new_tenant(ops, "Ben")
    rabbit.wipe(list(LANES))
    for lane in LANES:  # a process that takes turns declares them; none does here
        wire = RabbitWire(rabbit.url, lanes=LANES, answer_within_s=PATIENT_S)
        wire.take(lane, 1)
        wire.close()
    rabbit_client.enqueue_many([request(ada, i, lane="interactive") for i in range(cap - 2)])
    for i in range(5):
        rabbit_client.enqueue(**request(ada, i, lane="interactive"))
    rabbit_client.enqueue_many([request(ben, i, lane="batch") for i in range(3 * cap)])
    assert turns_on(rabbit, "interactive") == cap
    assert turns_on(rabbit, "batch") == cap


def test_tenants_with_few_jobs_have_their_turns_before_floods_by_whichever_way_they_came(
    rabbit: PrivateRabbit, rabbit_client: Client, app: Database, ops: Database
) -> None:
    flood, few, from_sql = (new_tenant(ops, name) for name in ("Flood", "Few", "From SQL"))
    rabbit.wipe(list(LANES))
    rabbit_client.enqueue_many([request(flood, i, lane="interactive") for i in range(20)])
    rabbit_client.enqueue(**request(few, 0, lane="interactive"))
    rabbit_client.enqueue(**request(flood, 0, lane="interactive"))
    fields = {"user_id": "u", "feature": "chat", "estimated_tokens": 60, "lane": "interactive"}
    for tenant, n in ((from_sql, 1), (flood, 20)):
        rows = [fields | {"id": str(new_id()), "messages": [{"role": "user", "content": "Hi"}]} for _ in range(n)]
        with app.connection() as connection:
            jobs.enqueue_batch(connection, tenant, rows, wake=True)
    wire = RabbitWire(rabbit.url, lanes=LANES, answer_within_s=PATIENT_S)
    Scheduler(
        database=ops, wire=wire, worker_silent_s=10, max_deaths=3, turns_per_tenant=64, idempotency_days=30
    ).drain_wakes()

    wire.hold_at_most(8)
    first = wire.take("interactive", 4)
    assert {str(few), str(from_sql)} < {turn.tenant for turn in first}
    wire.close()
    with rabbit.connect() as connection:
        channel, name = connection.channel(), queue_name("interactive", LIGHT)
        eventually(
            lambda: channel.queue_declare(name, passive=True).method.message_count == 2,
            why="the taken turns came back, and no other turns are there",
        )


def test_doctor_finds_the_wire_and_says_what_it_cannot_see(
    rabbit: PrivateRabbit, rabbit_fleet: Fleet, urls: Urls
) -> None:
    env = rabbit_fleet.env | {"HEADRACE_OWNER_DATABASE_URL": urls.owner, "OPENAI_API_KEY": "none"}
    for option, part in ((), "wire"), (("--audit",), "no_turn_is_missing"):
        done = subprocess.run(
            [sys.executable, "-m", "console.main", "doctor", "--json", *option],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        findings = {one["part"]: one for one in json.loads(done.stdout)["findings"]}
        assert findings[part]["verdict"] in ("ok", "note"), findings[part]
        assert "guest:guest" not in done.stdout + done.stderr
        if part == "wire":
            assert findings["wire"]["says"].startswith("RabbitMQ ")
            assert rabbit.url.replace(":guest@", ":***@") in findings["wire"]["says"]
