"""What taking work off the queue costs: a fair turn of ours against a stock dramatiq fetch with its ack.

One server, one run, one turn (message) at a time and sixteen at a time. Client CPU is this process's, Redis CPU the
server's main thread; both per turn. Ratios travel between machines, microseconds do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from queues.redis.wire import RedisWire
from tests.support.valkey import PrivateValkey

TURNS = 8_000
TENANTS = 200
LANE = "interactive"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time per turn, µs."""

    client: float
    server: float


def measured(client: redis.Redis, drain: Callable[[], int]) -> Cost:
    """Run ``drain``, which returns how many turns it took, and see what each cost."""

    def server_cpu() -> float:
        info = client.info("cpu")
        return info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]

    server, mine = server_cpu(), time.process_time()
    turns = drain()
    mine, server = time.process_time() - mine, server_cpu() - server
    assert turns == TURNS
    return Cost(client=mine / turns * 1e6, server=server / turns * 1e6)


def ours(server: PrivateValkey, client: redis.Redis, at_once: int, tenants: int = TENANTS) -> Cost:
    client.flushall()
    wire = RedisWire(server.url, lanes={LANE: 9, "batch": 1}, turns_per_tenant=TURNS // tenants)
    wire.refill(LANE, {f"tenant-{i:05}": TURNS // tenants for i in range(tenants)})

    def drain() -> int:
        taken = 0
        while turns := wire.take(LANE, at_once):
            taken += len(turns)
        return taken

    cost = measured(client, drain)
    wire.close()
    return cost


def stock(server: PrivateValkey, client: redis.Redis, at_once: int) -> Cost:
    client.flushall()
    broker = RedisBroker(url=server.url, middleware=[])
    broker.declare_queue("turns")
    for i in range(TURNS):
        kwargs = {"v": 1, "tenant": f"tenant-{i % TENANTS:05}", "lane": LANE}
        broker.enqueue(dramatiq.Message("turns", "turn", (), kwargs, {}))

    def drain() -> int:
        taken = 0
        while fetched := broker.do_fetch("turns", at_once):
            for encoded in fetched:
                broker.do_ack("turns", dramatiq.Message.decode(encoded).options["redis_message_id"])
            taken += len(fetched)
        return taken

    cost = measured(client, drain)
    broker.client.close()
    return cost


def main() -> None:
    with PrivateValkey() as server, server.client() as client:
        print(f"{'µs of CPU a turn':<44}{'client':>8}{'Redis':>8}")
        for at_once in (1, 16):
            theirs = stock(server, client, at_once)
            mine = ours(server, client, at_once)
            print(f"{f'stock dramatiq, fetch {at_once} + ack each':<44}{theirs.client:>8.1f}{theirs.server:>8.1f}")
            print(f"{f'fair turns, take {at_once}':<44}{mine.client:>8.1f}{mine.server:>8.1f}")
            ratios = f"{mine.client / theirs.client:>8.2f}{mine.server / theirs.server:>8.2f}"
            print(f"{'  ratio ours / stock':<44}{ratios}")
        few, many = ours(server, client, 1, tenants=10), ours(server, client, 1, tenants=TURNS)
        print(f"{f'fair turns, take 1: {TURNS} tenants / 10 tenants':<44}", end="")
        print(f"{many.client / few.client:>8.2f}{many.server / few.server:>8.2f}")


if __name__ == "__main__":
    main()
