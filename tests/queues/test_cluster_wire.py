"""What only a cluster has: keys that move to another master, masters that are none of the wire's business."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from errors import ConfigurationError, RedisUnavailableError, ServiceError
from queues.broker_url import open_wire, redis_client
from queues.redis.cluster import Cluster
from queues.redis.wire import RedisWire
from tests.queues.conftest import LANES, eventually
from tests.support.ports import free_port
from tests.support.valkey import PrivateValkey
from tests.support.valkey_cluster import MASTERS, PrivateCluster
from tests.support.wires import open_on

LANE = "interactive"


@pytest.fixture
def wire(cluster: PrivateCluster) -> Iterator[RedisWire]:
    cluster.flush()
    wire = open_on(cluster)
    assert isinstance(wire, RedisWire)
    yield wire
    wire.close()


def test_everything_of_the_wire_lies_on_one_master(cluster, wire):
    wire.offer_many(LANE, {"ada": 2, "ben": 1})
    wire.offer("batch", "ada")
    wire.take(LANE, 2)
    wire.correct(LANE, "ada", 5.0, observed=5.0)
    wire.wake()
    with cluster.home.client() as home:
        assert home.dbsize() > 5
    for other in cluster.others:
        with other.client() as client:
            assert client.dbsize() == 0


def test_the_wire_follows_its_keys_to_another_master(cluster, wire):
    wire.offer(LANE, "ada", 3)
    assert not wire.wait_for_news(["batch"], 0.01)
    for there in cluster.others:
        cluster.move(there)
        assert wire.offer(LANE, "ben", 2) == 2, "the caller never sees the redirection"
        assert [turn.tenant for turn in wire.take(LANE, 5)] == ["ben", "ben"]
    assert wire.facts().server.endswith(f", one of {MASTERS} masters of a cluster")


def test_who_blocks_while_the_keys_move_hears_of_turns_in_their_new_place(cluster, wire):
    other = open_on(cluster)
    heard = threading.Event()
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set() and not heard.is_set():
            with suppress(ServiceError):
                if wire.wait_for_news(LANES, 1):
                    heard.set()

    with cluster.home.client() as home:
        thread = threading.Thread(target=listen)
        thread.start()
        eventually(lambda: home.info("clients")["blocked_clients"] == 1)
    try:
        cluster.move(cluster.others[0])
        other.offer(LANE, "ada")
        assert heard.wait(10)
    finally:
        stop.set()
        thread.join(10)
        other.close()


def test_a_master_without_the_wires_keys_may_die(cluster, wire):
    """Also the one that a process asks first where the others are."""
    bystander = cluster.others[0]
    wire.offer(LANE, "ada", 3)
    bystander.kill()
    try:
        late = open_on(cluster)
        assert late.offer(LANE, "ben") == 1
        late.close()
        with cluster.others[1].client() as client:
            eventually(lambda: "fail" in str(client.execute_command("CLUSTER NODES")), within_s=20)
        assert len(wire.take(LANE, 4)) == 4
        assert not wire.wait_for_news(LANES, 0.01)
    finally:
        bystander.start()
        cluster.start()


def test_nobody_there_is_said_at_once():
    wire = open_wire(f"redis+cluster://u:hunter2@127.0.0.1:{free_port()},127.0.0.1:{free_port()}", lanes=LANES)
    with pytest.raises(RedisUnavailableError, match=r"does not answer.*refused") as caught:
        wire.facts()
    assert "hunter2" not in f"{caught.value} {caught.value.as_dict()} {caught.value.__cause__}"
    wire.close()


def test_a_node_of_a_cluster_that_is_taken_for_a_server_says_what_to_write(cluster):
    wire = open_wire(f"redis://127.0.0.1:{cluster.others[0].port}", lanes=LANES)
    with pytest.raises(RedisUnavailableError, match="node of a cluster") as caught:
        wire.offer(LANE, "ada")
    assert "redis+cluster://" in str(caught.value.as_dict())
    wire.close()


def test_a_server_that_is_taken_for_a_cluster_says_so(tmp_path):
    with PrivateValkey(port=free_port()) as server:
        wire = open_wire(f"redis+cluster://127.0.0.1:{server.port}", lanes=LANES)
        with pytest.raises(RedisUnavailableError, match="Cluster mode is not enabled"):
            wire.offer(LANE, "ada")
        wire.close()


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster", "valkey+cluster", "VALKEYS+cluster"])
def test_schemes_that_name_a_cluster(scheme):
    url = f"{scheme}://me:pw@somewhere:7000,elsewhere/0"
    wire = open_wire(url, lanes={"batch": 1}, turns_per_tenant=3)
    assert isinstance(wire, RedisWire)
    assert (wire.lanes, wire.turns_per_tenant) == ({"batch": 1}, 3)
    assert isinstance(redis_client(url), Cluster)


@pytest.mark.parametrize("rest", ["u:hunter2@h:port", "u:hunter2@h:7000,h:port", "u:hunter2@h:7000/3", "u:hunter2/x@h"])
def test_urls_that_cannot_be_read_are_refused(rest):
    with pytest.raises(ConfigurationError, match="HEADRACE_BROKER_URL") as caught:
        open_wire(f"redis+cluster://{rest}", lanes=LANES)
    assert "hunter2" not in f"{caught.value} {caught.value.as_dict()}"
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigurationError, match="HEADRACE_REDIS_URL"):
        redis_client(f"redis+cluster://{rest}")
