"""taskiq on a Redis list; the job is a plain function, so it runs in its thread pool.

A list does not acknowledge: a killed worker loses what it has fetched. The stream broker of the same package does, but
its workers did not end on SIGTERM within 20 s here, and some later starts left one or two jobs of a hundred unfetched.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

import redis
from taskiq_redis import ListQueueBroker

from benchmarks.peers import job, peer

URL = os.environ[peer.REDIS]
BROKER = ListQueueBroker(url=URL)
JOB = BROKER.task(task_name="job")(job.run)


class Taskiq:
    """:class:`benchmarks.peers.peer.Peer`."""

    promise = "in Redis's memory"

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(BROKER.startup())

    def worker_commands(self, processes: int, slots: int) -> list[list[str]]:
        return [
            ["taskiq", "worker", f"{__name__}:BROKER", "--workers", str(processes), "--max-threadpool-threads",
             str(slots), "--max-async-tasks", str(slots), "--log-level", "ERROR"]
        ]  # fmt: skip

    def send(self, number: int, sleep_ms: int) -> None:
        self._runner.run(JOB.kiq(number, sleep_ms))

    def send_each(self, numbers: Iterable[int]) -> None:
        self.send_all(numbers, 0)

    def send_all(self, numbers: Iterable[int], sleep_ms: int) -> None:
        async def all_of_them() -> None:
            for number in numbers:
                await JOB.kiq(number, sleep_ms)

        self._runner.run(all_of_them())

    def empty(self) -> None:
        with redis.Redis.from_url(URL) as client:
            client.delete(BROKER.queue_name)

    def close(self) -> None:
        self._runner.run(BROKER.shutdown())
        self._runner.close()


def connect() -> Taskiq:
    return Taskiq()
