"""Real services for every test: a private Postgres and Valkey for the session, a fresh database for each test.

A test's database is cloned from a provisioned template, so it costs a tenth of a second. Tests connect as the
application's role (``app``) or the operators' (``ops``); the superuser only makes and drops databases. With
HEADRACE_TEST_PGBOUNCER set, both (and other services' role) go through a PgBouncer in transaction mode.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import redis
from hypothesis import settings as property_tests

from console.endpoints import Endpoints, start, stop
from console.provisioning import provision
from producers import Client
from queues.broker_url import open_wire
from queues.turns import Wire
from settings import Settings
from storage.catalogue import tenants
from storage.db.database import Database
from tests.support.fleet import Fleet, Urls
from tests.support.pgbouncer import WayIn, bouncer, is_wanted
from tests.support.rabbitmq import PrivateRabbit
from tests.support.valkey_cluster import PrivateCluster
from workers.scheduler import Scheduler

TEMPLATE = "headrace_template"
_numbers = itertools.count(1)

# A landing is decided by the same examples each time; at home they are new ones. No example fails for the time it took.
property_tests.register_profile("home", deadline=None)
property_tests.load_profile("ci" if os.environ.get("HEADRACE_CI") else "home")


def _in_database(url: str, name: str) -> str:
    return url.replace("/headrace?", f"/{name}?")


@pytest.fixture(scope="session")
def services() -> Iterator[Endpoints]:
    # not below pytest's own directory, which is closed to the servers' user when the tests run as root
    directory = Path(tempfile.mkdtemp(prefix="headrace-tests-"))
    directory.chmod(0o755)
    endpoints = start(
        directory,
        which={"postgres", "redis"},
        settings=Settings(simulator_url="http://127.0.0.1:9"),
        prepare=lambda _owner_url: None,
    )
    try:
        with psycopg.connect(endpoints.require_owner(), autocommit=True) as connection:
            connection.execute(f"create database {TEMPLATE}")
        provision(_in_database(endpoints.require_owner(), TEMPLATE), lanes=Settings().lane_weights)
        lift_rates(_in_database(endpoints.require_owner(), TEMPLATE))
        yield endpoints
    finally:
        stop(directory)
        shutil.rmtree(directory, ignore_errors=True)


def lift_rates(owner_url: str) -> None:
    """No request rate by default: tests ask more in a second than a person in a minute. Tests of rates set them."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("update headrace.plans set user_per_minute = null")


@pytest.fixture(scope="session")
def rabbit() -> Iterator[PrivateRabbit]:
    """The session's RabbitMQ node: a node takes seconds to start. A test that kills it starts it again."""
    with PrivateRabbit() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[PrivateCluster]:
    """The session's Valkey Cluster. A test that kills a master starts it again."""
    with PrivateCluster() as server:
        yield server


@pytest.fixture(scope="session")
def way_in(services: Endpoints) -> Iterator[WayIn]:
    """How the application gets to Postgres: directly, or with HEADRACE_TEST_PGBOUNCER set through a PgBouncer."""
    if not is_wanted():
        yield lambda url: url
        return
    with bouncer(services.require_owner()) as through:
        yield through


@pytest.fixture
def urls(services: Endpoints, way_in: WayIn) -> Iterator[Urls]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(services.require_owner(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
        app = way_in(_in_database(services.database_url, name))
        yield Urls(
            app=app,
            ops=way_in(_in_database(services.require_ops(), name)),
            owner=_in_database(services.require_owner(), name),
            producer=app.replace("headrace_app@", "headrace_producer@"),
            redis=services.redis_url,
        )
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def app(urls: Urls) -> Iterator[Database]:
    """The test's database as headrace_app."""
    with Database(urls.app) as database:
        yield database


@pytest.fixture
def ops(urls: Urls) -> Iterator[Database]:
    """The test's database as headrace_ops."""
    with Database(urls.ops) as database:
        yield database


@pytest.fixture
def tenant(ops: Database) -> UUID:
    """A tenant on the pro plan with a cap of $50 a day."""
    return new_tenant(ops, "Acme")


def new_tenant(ops: Database, name: str, *, plan: str = "pro", daily_cap_usd: Decimal | None = None) -> UUID:
    """A tenant of a name that others may have too."""
    with ops.connection() as connection:
        return tenants.add(connection, name=name, plan=plan, daily_cap_usd=daily_cap_usd, same_name=True)


@pytest.fixture
def client(app: Database, urls: Urls, wiped_wire: Wire) -> Client:
    """The way in, over a wiped wire."""
    return Client(app, wiped_wire)


@pytest.fixture
def wiped_wire(urls: Urls) -> Iterator[Wire]:
    """The wire of the test's Valkey, with nothing on it."""
    with redis.Redis.from_url(urls.redis) as server:
        server.flushall()
    wire = open_wire(urls.redis, lanes=Settings().lane_weights)
    yield wire
    wire.close()


@pytest.fixture
def fleet(urls: Urls, tmp_path: Path, wiped_wire: Wire) -> Iterator[Fleet]:
    """Real processes for this test."""
    fleet = Fleet(urls, tmp_path)
    yield fleet
    fleet.close()


@pytest.fixture
def scheduler(ops: Database, urls: Urls, wiped_wire: Wire) -> Iterator[Scheduler]:
    """A running scheduler, in a thread of its own."""
    wire = open_wire(urls.redis, lanes=Settings().lane_weights)
    scheduler = Scheduler(
        database=ops, wire=wire, worker_silent_s=2.0, max_deaths=3, turns_per_tenant=64, idempotency_days=30
    )
    stopping = threading.Event()
    thread = threading.Thread(target=scheduler.run, args=[stopping])
    thread.start()
    yield scheduler
    stopping.set()
    thread.join()
    wire.close()
