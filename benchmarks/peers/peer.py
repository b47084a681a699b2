"""What a peer has to offer, and where the peers are."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Protocol

from benchmarks.peers.missing import told_what_to_install

REDIS, POSTGRES = "BENCH_REDIS_URL", "BENCH_POSTGRES_URL"
"""Environment variables that a peer's module reads when it is imported, here and in its workers."""

PEERS = {
    "dramatiq": "benchmarks.peers.on_dramatiq",
    "celery": "benchmarks.peers.on_celery",
    "procrastinate": "benchmarks.peers.on_procrastinate",
    "taskiq": "benchmarks.peers.on_taskiq",
}


class Peer(Protocol):
    """A job system whose job is :func:`benchmarks.peers.job.run`."""

    promise: str
    """What holds once an enqueue call has returned."""

    def worker_commands(self, processes: int, slots: int) -> list[list[str]]:
        """What to start for so many worker processes that do so many jobs at once each; after ``python -m``."""

    def send(self, number: int, sleep_ms: int) -> None:
        """Enqueue one job."""

    def send_each(self, numbers: Iterable[int]) -> None:
        """Enqueue no-op jobs one by one, each with an answer before the next."""

    def send_all(self, numbers: Iterable[int], sleep_ms: int) -> None:
        """Enqueue in the fastest way that it has."""

    def empty(self) -> None:
        """Forget jobs that were not begun. No workers run."""

    def close(self) -> None:
        """Let go of connections."""


def connect(name: str) -> Peer:
    """The peer of this name; its variables are set. Exits kindly when its package is not installed."""
    with told_what_to_install():
        module = importlib.import_module(PEERS[name])
    peer: Peer = module.connect()
    return peer
