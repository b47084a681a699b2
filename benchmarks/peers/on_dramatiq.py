"""Stock dramatiq on Redis: its own broker and middleware."""

from __future__ import annotations

import os
from collections.abc import Iterable

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import job, peer

BROKER: dramatiq.Broker = RedisBroker(url=os.environ[peer.REDIS])  # type: ignore[no-untyped-call]
JOB = dramatiq.actor(broker=BROKER, actor_name="job")(job.run)


class Dramatiq:
    """:class:`benchmarks.peers.peer.Peer`."""

    promise = "in Redis's memory"

    def worker_commands(self, processes: int, slots: int) -> list[list[str]]:
        return [["dramatiq", f"{__name__}:BROKER", "--processes", str(processes), "--threads", str(slots)]]

    def send(self, number: int, sleep_ms: int) -> None:
        JOB.send(number, sleep_ms)

    def send_each(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            JOB.send(number, 0)

    def send_all(self, numbers: Iterable[int], sleep_ms: int) -> None:
        for number in numbers:
            JOB.send(number, sleep_ms)

    def empty(self) -> None:
        BROKER.flush_all()

    def close(self) -> None:
        BROKER.close()


def connect() -> Dramatiq:
    return Dramatiq()
