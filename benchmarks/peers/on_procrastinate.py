"""Procrastinate on the same Postgres server, in a database of its own: durable, as ours is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

import procrastinate
import psycopg

from benchmarks.peers import job, peer

URL = os.environ[peer.POSTGRES]
APP = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL))
JOB = APP.task(job.run, name="job")
_CHUNK = 1_000


class Procrastinate:
    """:class:`benchmarks.peers.peer.Peer`."""

    promise = "committed and flushed by Postgres"

    def __init__(self) -> None:
        with psycopg.connect(URL) as connection:
            (made,) = connection.execute("select to_regclass('procrastinate_jobs') is not null").fetchone() or (False,)
        APP.open()
        if not made:
            APP.schema_manager.apply_schema()

    def worker_commands(self, processes: int, slots: int) -> list[list[str]]:
        return [
            ["procrastinate", "--app", f"{__name__}.APP", "worker", "--concurrency", str(slots)]
            for _ in range(processes)
        ]

    def send(self, number: int, sleep_ms: int) -> None:
        JOB.defer(number=number, sleep_ms=sleep_ms)

    def send_each(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            JOB.defer(number=number, sleep_ms=0)

    def send_all(self, numbers: Iterable[int], sleep_ms: int) -> None:
        left: Iterator[int] = iter(numbers)
        while chunk := list(islice(left, _CHUNK)):
            JOB.batch_defer(*({"number": number, "sleep_ms": sleep_ms} for number in chunk))

    def empty(self) -> None:
        with psycopg.connect(URL) as connection:
            connection.execute("truncate procrastinate_jobs cascade")

    def close(self) -> None:
        APP.close()


def connect() -> Procrastinate:
    return Procrastinate()
