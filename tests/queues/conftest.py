from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from queues.redis.wire import RedisWire
from tests.support.valkey import PrivateValkey

LANES = {"interactive": 9, "batch": 1}


@pytest.fixture(scope="session")
def valkey() -> Iterator[PrivateValkey]:
    """One server for all tests that only wipe it."""
    with PrivateValkey() as server:
        yield server


@pytest.fixture
def mortal_valkey() -> Iterator[PrivateValkey]:
    """A server that the test may kill."""
    with PrivateValkey() as server:
        yield server


@pytest.fixture(scope="session")
def session_client(valkey: PrivateValkey) -> Iterator[redis.Redis]:
    with valkey.client() as client:
        yield client


@pytest.fixture
def client(session_client: redis.Redis) -> redis.Redis:
    """What a look into the wiped server takes."""
    session_client.flushall()
    return session_client


@pytest.fixture
def wire(valkey: PrivateValkey, client: redis.Redis) -> Iterator[RedisWire]:
    """A wire on a wiped server."""
    wire = RedisWire(valkey.url, lanes=LANES)
    yield wire
    wire.close()


def eventually(holds: Callable[[], object], within_s: float = 10) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.005)


@pytest.fixture
def blocked_clients(client: redis.Redis) -> Callable[[int], None]:
    """Wait until so many clients of the server block on news."""
    return lambda n: eventually(lambda: client.info("clients")["blocked_clients"] == n)
