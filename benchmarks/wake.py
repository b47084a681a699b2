"""How soon an idle worker starts: from the offer to the actor's first line, ours against a stock dramatiq broker.

The worker runs in a process of its own and has been idle for a while whenever something is offered.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from typing import Literal

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from queues.broker import TurnBroker
from queues.consumer import ACTOR, QUEUE
from queues.redis.wire import RedisWire
from tests.support.valkey import PrivateValkey

Kind = Literal["ours", "stock"]

LANES = {"interactive": 9, "batch": 1}
SAMPLES: dict[Kind, int] = {"ours": 300, "stock": 25}
#: Idle time before an offer, s. Stock workers poll more and more seldom the longer they idle; ours do not care.
IDLE_S: dict[Kind, float] = {"ours": 0.02, "stock": 0.7}


def broker_of(kind: Kind, url: str) -> dramatiq.Broker:
    return TurnBroker(RedisWire(url, lanes=LANES)) if kind == "ours" else RedisBroker(url=url, middleware=[])


def work(kind: Kind, url: str, started: Connection) -> None:
    """The worker's process: its actor reports the time of its start (the monotonic clock is the machine's)."""
    broker = broker_of(kind, url)

    def turn(*, v: int, tenant: str, lane: str, charge: float = 0.0) -> None:
        started.send(time.monotonic())

    dramatiq.actor(turn, broker=broker, actor_name=ACTOR, queue_name=QUEUE)
    dramatiq.Worker(broker, worker_threads=8).start()
    started.send(None)
    while True:
        time.sleep(60)


def latencies(kind: Kind, server: PrivateValkey, client: redis.Redis) -> list[float]:
    """Times from offer to start, ms, sorted."""
    client.flushall()
    broker = broker_of(kind, server.url)
    broker.declare_queue(QUEUE)
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(kind, server.url, theirs), daemon=True)
    process.start()
    mine.recv()
    times = []
    try:
        for _ in range(SAMPLES[kind]):
            time.sleep(IDLE_S[kind])
            kwargs = {"v": 1, "tenant": "ada", "lane": "interactive"}
            offered = time.monotonic()
            broker.enqueue(dramatiq.Message(QUEUE, ACTOR, (), kwargs, {}))
            times.append((mine.recv() - offered) * 1000)
    finally:
        process.kill()
        process.join()
    return sorted(times)


def main() -> None:
    with PrivateValkey() as server, server.client() as client:
        medians: dict[Kind, float] = {}
        print(f"{'ms from offer to start, idle worker':<44}{'median':>9}{'p99':>9}")
        for kind in SAMPLES:
            times = latencies(kind, server, client)
            medians[kind] = statistics.median(times)
            p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
            print(f"{f'{kind}, {len(times)} samples':<44}{medians[kind]:>9.2f}{p99:>9.2f}")
        print(f"{'  ratio ours / stock':<44}{medians['ours'] / medians['stock']:>9.4f}")


if __name__ == "__main__":
    main()
