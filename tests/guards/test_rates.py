"""Request rates on a real Valkey: a sliding minute, shared by every process, that opens when the server is away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from guards.rates import PREFIX, RateGuard
from queues.redis.client import client
from storage.money.rates import Rate
from tests.support.valkey import PrivateValkey
from tests.support.valkey_cluster import PrivateCluster

OF_USER = Rate("user", "ann", 5)
OF_TENANT = Rate("tenant", "", 8)
OF_TENANT_OF_MANY = Rate("tenant", "", 1000)


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


def test_so_many_and_no_more_from_any_number_of_processes(valkey: PrivateValkey, tenant: UUID) -> None:
    guards = [RateGuard(client(valkey.url)) for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: guards[n % 4].admit(tenant, [OF_USER]), range(40)))
    assert answers.count(None) == 5
    refused = next(one for one in answers if one is not None)
    assert refused.rate == OF_USER
    assert 0 < refused.wait_s <= 60
    assert guards[0].room(tenant, OF_USER)[0] == 0


def test_users_and_tenants_are_counted_apart(valkey: PrivateValkey, tenant: UUID) -> None:
    guard = RateGuard(client(valkey.url))
    for _ in range(5):
        assert guard.admit(tenant, [OF_USER]) is None
    assert guard.admit(tenant, [OF_USER]) is not None
    assert guard.admit(tenant, [Rate("user", "bob", 5)]) is None
    assert guard.admit(uuid4(), [OF_USER]) is None


def test_a_request_that_one_rate_refuses_counts_under_none(valkey: PrivateValkey, tenant: UUID) -> None:
    guard = RateGuard(client(valkey.url))
    for _ in range(20):
        guard.admit(tenant, [OF_TENANT, OF_USER])
    assert guard.room(tenant, OF_USER)[0] == 0
    assert guard.room(tenant, OF_TENANT)[0] == 3


def test_many_rates_are_told_of_as_each_alone(valkey: PrivateValkey, tenant: UUID) -> None:
    guard = RateGuard(client(valkey.url))
    rates = [Rate("user", f"u {n}", 5 + n % 3) for n in range(300)]
    for rate in rates[:5] * 2:
        guard.admit(tenant, [rate])

    rooms = guard.rooms(tenant, rates)

    assert list(rooms) == rates
    assert {rate: room for rate, (room, _) in rooms.items()} == {rate: guard.room(tenant, rate)[0] for rate in rates}
    assert [rooms[rate][0] for rate in rates[:6]] == [3, 4, 5, 3, 4, 7]
    assert guard.rooms(tenant, []) == {}


def test_the_window_slides(valkey: PrivateValkey, tenant: UUID) -> None:
    """What was counted leaves the window a minute after it came, one by one: the server's entries are moved back."""
    guard, server = RateGuard(client(valkey.url)), valkey.client()
    for _ in range(5):
        guard.admit(tenant, [OF_USER])
    (key,) = server.keys(f"*{PREFIX}*")
    kind = server.type(key)
    assert kind == "list", "entries, newest first"
    entries = [float(one) for one in server.lrange(key, 0, -1)]
    server.delete(key)
    server.rpush(key, *(entries[:3] + [one - 61 for one in entries[3:]]))
    assert guard.room(tenant, OF_USER)[0] == 2
    assert [guard.admit(tenant, [OF_USER]) is None for _ in range(3)] == [True, True, False]


def test_a_raised_rate_holds_at_once_and_begins_no_new_minute(valkey: PrivateValkey, tenant: UUID) -> None:
    guard = RateGuard(client(valkey.url))
    for _ in range(5):
        guard.admit(tenant, [OF_USER])
    raised, lowered = Rate("user", "ann", 7), Rate("user", "ann", 3)
    assert guard.room(tenant, raised)[0] == 2
    assert guard.room(tenant, lowered)[0] == 0
    assert [guard.admit(tenant, [raised]) is None for _ in range(3)] == [True, True, False]
    assert guard.admit(tenant, [lowered]) is not None


def test_who_is_behind_others_waits_too(valkey: PrivateValkey, tenant: UUID) -> None:
    guard = RateGuard(client(valkey.url))
    refused = guard.admit(tenant, [Rate("user", "ann", 5, behind=True)])
    assert refused is not None
    assert refused.wait_s > 0
    assert guard.room(tenant, OF_USER)[0] == 5, "and is not counted"


def test_no_rates_ask_nothing(tenant: UUID) -> None:
    assert RateGuard(client("unix:///nowhere/s")).admit(tenant, []) is None


def test_without_redis_everything_passes_and_it_is_said_once(valkey: PrivateValkey, tenant: UUID) -> None:
    guard = RateGuard(client(valkey.url))
    for _ in range(5):
        guard.admit(tenant, [OF_USER])
    valkey.kill()
    with capture_logs() as logs:
        assert [guard.admit(tenant, [OF_USER]) for _ in range(10)] == [None] * 10
        assert guard.room(tenant, OF_USER) == (5, 0.0)
    assert [one["event"] for one in logs] == ["rates.open"]
    valkey.start()
    with capture_logs() as logs:
        for _ in range(5):
            assert guard.admit(tenant, [OF_USER]) is None, "the server has forgotten the minute"
        assert guard.admit(tenant, [OF_USER]) is not None
    assert [one["event"] for one in logs] == ["rates.held_again"]


def test_a_refusal_says_as_well_that_redis_is_back(valkey: PrivateValkey, tenant: UUID) -> None:
    guard, other = RateGuard(client(valkey.url)), RateGuard(client(valkey.url))
    valkey.kill()
    assert guard.admit(tenant, [OF_USER]) is None
    valkey.start()
    for _ in range(5):
        other.admit(tenant, [OF_USER])
    with capture_logs() as logs:
        assert guard.admit(tenant, [OF_USER]) is not None
    assert [one["event"] for one in logs] == ["rates.held_again"]


def test_a_frozen_redis_holds_one_request_up_and_not_all(valkey: PrivateValkey, tenant: UUID) -> None:
    guard = RateGuard(client(valkey.url, answer_within_s=0.3))
    guard.admit(tenant, [OF_USER])
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        with capture_logs() as logs:
            assert [guard.admit(tenant, [OF_USER]) for _ in range(50)] == [None] * 50
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert len(logs) == 1
    assert "imeout" in logs[0]["error"], "one waited for the time-out, the others knew"


def test_on_a_cluster_rates_spread_over_the_masters_and_a_dead_one_opens_its_own(
    cluster: PrivateCluster, tenant: UUID
) -> None:
    users = [Rate("user", f"user-{i}", 2) for i in range(30)]
    cluster.flush()
    guards = [RateGuard(client(cluster.url)) for _ in range(2)]
    for user in users:
        answers = [guard.admit(tenant, [OF_TENANT_OF_MANY, user]) for guard in (*guards, guards[0])]
        assert [one is None for one in answers] == [True, True, False]
    for master in cluster.masters:
        with master.client() as server:
            assert server.dbsize() > 0
    cluster.kill()
    try:
        with capture_logs() as logs:
            again = [guards[0].admit(tenant, [user]) is None for user in users]
    finally:
        cluster.start()
    assert 0 < sum(again) < len(users), "those of the masters that are there are held as before"
    assert [one["event"] for one in logs].count("rates.open") < sum(again), "and it is not said for each"
