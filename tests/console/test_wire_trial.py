"""A turn is tried on a wire that answers a ping and refuses every offer."""

from __future__ import annotations

from collections.abc import Callable

import pika
import pytest
import redis

from console.doctor.wire_trial import TENANT, try_turn
from errors import RabbitUnavailableError, RedisUnavailableError
from queues.broker_url import open_wire
from queues.rabbitmq.partitions import partition_of, queue_name
from tests.support.ports import free_port
from tests.support.rabbitmq import PrivateRabbit
from tests.support.valkey import PrivateValkey

LANES = {"interactive": 9, "batch": 1}
SETTING = "HEADRACE_REDIS_URL"


def is_full(server: PrivateValkey) -> None:
    server.client().config_set("maxmemory", 1)


def is_a_replica(server: PrivateValkey) -> None:
    server.client().execute_command("REPLICAOF", "127.0.0.1", free_port())


def has_no_slots(server: PrivateValkey) -> None:
    server.kill()
    server.start("--cluster-enabled", "yes")


def forbids_scripts(server: PrivateValkey) -> None:
    server.client().execute_command("ACL", "SETUSER", "default", "-@scripting")


@pytest.mark.parametrize("fault", [is_full, is_a_replica, has_no_slots, forbids_scripts])
def test_a_server_that_refuses_every_offer_is_found(fault: Callable[[PrivateValkey], None]) -> None:
    with PrivateValkey() as server:
        try_turn(server.url, lanes=LANES, setting=SETTING)
        fault(server)
        wire = open_wire(server.url, lanes=LANES)
        assert wire.facts().server, "it answers a ping"
        wire.close()
        with pytest.raises(RedisUnavailableError):
            try_turn(server.url, lanes=LANES, setting=SETTING)


def test_what_waits_on_the_wire_stays_there() -> None:
    with PrivateValkey() as server:
        wire = open_wire(server.url, lanes=LANES)
        wire.offer("interactive", "alice", 3)
        before = _dumped(server.client())
        for _ in range(3):
            try_turn(server.url, lanes=LANES, setting=SETTING)
        after = _dumped(server.client())
        assert {key: after[key] for key in before} == before
        assert {key.split(":")[1] for key in after.keys() - before.keys()} == {"(doctor)"}
        wire.close()


@pytest.mark.rabbitmq
def test_a_queue_of_another_type_is_found_and_others_turns_stay(rabbit: PrivateRabbit) -> None:
    lane = {"trial": 1}
    wire = open_wire(rabbit.url, lanes=lane)
    wire.offer("trial", "alice", 2)
    try_turn(rabbit.url, lanes=lane, setting="HEADRACE_BROKER_URL")
    turns = wire.take("trial", 5)
    assert [turn.tenant for turn in turns if turn.tenant != TENANT] == ["alice"] * 2
    for turn in turns:
        wire.done(turn)
    wire.close()

    name = queue_name("trial", partition_of(TENANT))
    with pika.BlockingConnection(pika.URLParameters(rabbit.url)) as connection:
        channel = connection.channel()
        channel.queue_delete(name)
        channel.queue_declare(name, durable=True)
        with pytest.raises(RabbitUnavailableError, match="PRECONDITION_FAILED"):
            try_turn(rabbit.url, lanes=lane, setting="HEADRACE_BROKER_URL")
        channel.queue_delete(name)


def _dumped(server: redis.Redis) -> dict[str, bytes]:
    return {key: server.execute_command("DUMP", key, NEVER_DECODE=True) for key in server.scan_iter()}  # type: ignore[misc]
