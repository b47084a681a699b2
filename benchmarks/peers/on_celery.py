"""Celery on Redis: no results kept, acknowledged after the job, thread pools (our jobs wait for the network, too)."""

from __future__ import annotations

import os
from collections.abc import Iterable

from celery import Celery

from benchmarks.peers import job, peer

APP = Celery("bench", broker=os.environ[peer.REDIS].replace("unix://", "redis+socket://"))
APP.conf.update(task_ignore_result=True, task_acks_late=True, worker_hijack_root_logger=False)
JOB = APP.task(job.run, name="job")


class OnCelery:
    """:class:`benchmarks.peers.peer.Peer`."""

    promise = "in Redis's memory"

    def worker_commands(self, processes: int, slots: int) -> list[list[str]]:
        return [
            ["celery", "--app", f"{__name__}:APP", "worker", "--pool", "threads", "--concurrency", str(slots),
             "--hostname", f"bench-{n}", "--without-gossip", "--without-mingle", "--loglevel", "ERROR"]
            for n in range(processes)
        ]  # fmt: skip

    def send(self, number: int, sleep_ms: int) -> None:
        JOB.apply_async((number, sleep_ms))

    def send_each(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            JOB.apply_async((number, 0))

    def send_all(self, numbers: Iterable[int], sleep_ms: int) -> None:
        for number in numbers:
            JOB.apply_async((number, sleep_ms))

    def empty(self) -> None:
        APP.control.purge()

    def close(self) -> None:
        APP.close()


def connect() -> OnCelery:
    return OnCelery()
