"""Stock dramatiq workers over the real wire."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.middleware import default_middleware
from structlog.testing import capture_logs

from errors import ConfigurationError, InvalidInputError, RedisUnavailableError
from queues.broker import TurnBroker
from queues.consumer import ACTOR, QUEUE, TURNS_A_ROUND, TurnConsumer
from queues.redis.wire import PREFIX, RedisWire
from queues.slots import Slots
from queues.turns import Turn
from tests.queues.conftest import LANES, eventually

LANE = "interactive"


@dataclass
class Shop:
    """A worker process in little: its actor notes each turn, then waits for the gate."""

    wire: RedisWire
    threads: int
    started: list[Turn] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    fails: bool = False

    def __post_init__(self) -> None:
        self.broker = TurnBroker(self.wire)
        dramatiq.actor(self.turn, broker=self.broker, actor_name=ACTOR, queue_name=QUEUE)
        self.worker = Worker(self.broker, worker_threads=self.threads, worker_timeout=100)

    def turn(self, *, v: int, tenant: str, lane: str, charge: float) -> None:
        assert v == 1
        self.started.append(Turn(tenant, lane, charge))
        assert self.gate.wait(20)
        if self.fails:
            raise ValueError("the actor failed")

    def has_started(self, n: int) -> None:
        eventually(lambda: len(self.started) >= n)
        assert len(self.started) == n

    def close(self) -> None:
        self.gate.set()
        self.worker.stop(timeout=10_000)


@pytest.fixture
def open_shop(valkey, client) -> Iterator[Callable[..., Shop]]:
    """Start a worker with so many threads (on this server, if one is named)."""
    shops: list[Shop] = []

    def start(threads: int, server=valkey, lanes=LANES) -> Shop:
        shop = Shop(RedisWire(server.url, lanes=lanes), threads)
        shops.append(shop)
        shop.worker.start()
        return shop

    yield start
    for shop in shops:
        shop.close()
        shop.wire.close()


@pytest.fixture
def outstanding(client) -> Callable[..., dict[str, int]]:
    """The turns left on the wire."""

    def look(lane: str = LANE) -> dict[str, int]:
        return {tenant: int(n) for tenant, n in client.hgetall(f"{PREFIX}:{lane}:turns").items()}

    return look


def test_turns_are_taken_for_free_slots_only(wire, open_shop, outstanding):
    wire.offer(LANE, "ada", 5)
    shop = open_shop(2)

    shop.has_started(2)
    assert outstanding() == {"ada": 3}, "a turn without a free slot stays on the wire, for a process that has one"
    assert shop.broker.slots.occupied == 2

    # Fresh news, while all slots are full, is for others.
    wire.offer(LANE, "ben")
    assert outstanding() == {"ada": 3, "ben": 1}

    shop.gate.set()
    shop.has_started(6)
    eventually(lambda: shop.broker.slots.occupied == 0)
    assert outstanding() == {}


def test_more_slots_than_a_round_takes_are_all_filled(wire, open_shop, outstanding):
    wire.offer(LANE, "ada", 64)
    shop = open_shop(2 * TURNS_A_ROUND + 3)
    shop.has_started(2 * TURNS_A_ROUND + 3)
    assert outstanding() == {"ada": 64 - len(shop.started)}


def test_an_idle_worker_is_woken_by_an_offer(wire, open_shop, blocked_clients):
    shop = open_shop(2)
    for n, lane in enumerate([LANE, "batch", LANE]):
        blocked_clients(1)
        wire.offer(lane, "ada")
        shop.has_started(n + 1)
        shop.gate.set()
    assert [turn.lane for turn in shop.started] == [LANE, "batch", LANE]


def test_one_offer_of_many_turns_wakes_idle_workers_one_after_the_other(wire, open_shop, blocked_clients, outstanding):
    shops = [open_shop(1) for _ in range(3)]
    blocked_clients(3)
    wire.offer(LANE, "ada", 4)
    for shop in shops:
        shop.has_started(1)
    assert outstanding() == {"ada": 1}


def test_an_idle_worker_waits_and_does_not_poll(client, open_shop, blocked_clients):
    def calls(command: str) -> int:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    open_shop(4)
    blocked_clients(1)
    client.config_resetstat()
    eventually(lambda: calls("blpop") >= 3)
    takes, waits = calls("evalsha"), calls("blpop")
    assert takes <= len(LANES) * (waits + 2), "it looks into each lane once a wait"


def test_lanes_are_served_by_weight(wire, open_shop):
    wire.offer_many(LANE, {"ada": 64, "ben": 64})
    wire.offer("batch", "ada", 64)
    shop = open_shop(1)
    shop.gate.set()
    eventually(lambda: len(shop.started) >= 100)
    assert Counter(turn.lane for turn in shop.started[:100]) == {LANE: 90, "batch": 10}


def test_a_slot_is_free_again_after_an_actor_failed(wire, open_shop):
    shop = open_shop(1)
    shop.fails = True
    shop.gate.set()
    wire.offer(LANE, "ada", 3)
    shop.has_started(3)
    eventually(lambda: shop.broker.slots.occupied == 0)


def test_a_slot_is_free_again_after_a_message_without_an_actor(wire, client, outstanding):
    broker = TurnBroker(wire)
    broker.declare_queue(QUEUE)
    worker = Worker(broker, worker_threads=1, worker_timeout=100)
    wire.offer(LANE, "ada", 3)
    worker.start()
    eventually(lambda: not outstanding())
    eventually(lambda: broker.slots.occupied == 0)
    worker.stop(timeout=10_000)


def test_draining_takes_no_more_and_loses_nothing(wire, open_shop, outstanding):
    wire.offer(LANE, "ada", 5)
    shop = open_shop(2)
    shop.has_started(2)

    stopping = threading.Thread(target=shop.worker.stop, kwargs={"timeout": 10_000})
    stopping.start()
    eventually(lambda: shop.broker.slots.closed)
    shop.gate.set()
    stopping.join(10)

    assert not stopping.is_alive()
    shop.has_started(2)
    assert outstanding() == {"ada": 3}


def test_draining_ends_an_idle_wait(wire, client, open_shop, blocked_clients):
    shop = open_shop(1)
    blocked_clients(1)
    shop.broker.drain()
    blocked_clients(0)
    wire.offer(LANE, "ada")
    shop.worker.stop(timeout=10_000)
    assert shop.started == []


def test_turns_that_were_never_started_are_handed_back_and_refunded(wire, client, outstanding):
    wire.offer_many(LANE, {"ada": 3, "ben": 1})
    slots = Slots(4)
    consumer = TurnConsumer(wire, slots, timeout_s=0.1)
    passed_on = next(consumer)
    assert outstanding() == {}
    assert slots.occupied == 4

    slots.close()
    assert next(consumer) is None
    assert outstanding() == {"ada": 2, "ben": 1}
    assert slots.occupied == 1

    consumer.requeue([passed_on])
    assert outstanding() == {"ada": 3, "ben": 1}
    assert slots.occupied == 0
    tags = dict(client.zrange(f"{PREFIX}:{LANE}:active", 0, -1, withscores=True))
    clock = float(client.get(f"{PREFIX}:{LANE}:clock"))
    assert tags["ada"] < clock + 100
    assert tags["ben"] < clock + 100


def test_a_hand_back_that_nobody_hears_frees_the_slot_all_the_same(mortal_valkey):
    wire = RedisWire(mortal_valkey.url, lanes=LANES)
    wire.offer(LANE, "ada", 2)
    slots = Slots(2)
    consumer = TurnConsumer(wire, slots, timeout_s=0.1)
    message = next(consumer)
    mortal_valkey.kill()
    with capture_logs() as logs:
        consumer.requeue([message])
    assert slots.occupied == 1
    assert [entry["event"] for entry in logs] == ["wire.hand_back_lost"]
    wire.close()


def test_a_killed_server_holds_no_worker_up_and_work_resumes_by_itself(mortal_valkey, open_shop):
    with capture_logs() as logs:
        shop = open_shop(2, server=mortal_valkey)
        shop.wire.offer(LANE, "ada", 2)
        shop.has_started(2)

        mortal_valkey.kill()
        shop.gate.set()
        eventually(lambda: shop.broker.slots.occupied == 0)
        eventually(lambda: any(entry["event"] == "wire.does_not_answer" for entry in logs))
        with pytest.raises(RedisUnavailableError):
            shop.wire.refill(LANE, {"ada": 1})

        mortal_valkey.start()
        shop.wire.refill(LANE, {"ada": 3})
        shop.has_started(5)
        eventually(lambda: any(entry["event"] == "wire.answers_again" for entry in logs))


def test_a_wiped_server_stops_nothing(wire, client, open_shop, blocked_clients):
    shop = open_shop(1)
    shop.gate.set()
    blocked_clients(1)
    client.flushall()
    client.script_flush()
    wire.refill(LANE, {"ada": 2})
    shop.has_started(2)


def test_turns_taken_before_a_lane_failed_are_kept(mortal_valkey):
    """The first lane answered, the second no more: what the first gave still runs."""
    wire = RedisWire(mortal_valkey.url, lanes=LANES)
    wire.offer(LANE, "ada")

    class Dying(RedisWire):
        def take(self, lane: str, n: int) -> list[Turn]:
            if lane == "batch":
                mortal_valkey.kill()
            return super().take(lane, n)

    consumer = TurnConsumer(Dying(mortal_valkey.url, lanes=LANES), Slots(4), timeout_s=0.1)
    message = next(consumer)
    assert message is not None
    assert message.kwargs["tenant"] == "ada"
    wire.close()


def test_sending_the_actor_a_message_offers_a_turn(wire, outstanding):
    shop = Shop(wire, 1)
    actor = shop.broker.get_actor(ACTOR)
    actor.send(v=1, tenant="ada", lane="batch")
    assert outstanding("batch") == {"ada": 1}


def test_messages_that_are_no_turns_are_refused(wire, outstanding):
    shop = Shop(wire, 1)
    actor = shop.broker.get_actor(ACTOR)
    for options in ({"delay": 10, "kwargs": {"v": 1}}, {"kwargs": {"v": 2}}, {"kwargs": {}}):
        with pytest.raises(InvalidInputError):
            actor.send_with_options(**options)
    with pytest.raises(InvalidInputError, match="actor_name"):
        shop.broker.enqueue(dramatiq.Message(QUEUE, "other", (), {"v": 1}, {}))
    with pytest.raises(ConfigurationError, match="queue_name"):
        dramatiq.actor(lambda: None, broker=shop.broker, actor_name="other", queue_name="other")
    assert outstanding() == {}


def test_none_of_the_stock_middleware_is_in_use(wire):
    shop = Shop(wire, 1)
    assert not {type(middleware) for middleware in shop.broker.middleware} & set(default_middleware)
    assert shop.broker.get_declared_queues() == {QUEUE}
    assert shop.broker.get_declared_delay_queues() == set()
