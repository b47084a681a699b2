"""One side of a comparison: ours or a peer, behind the same few verbs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from benchmarks.peers.reports import Span


class Side(Protocol):
    """A job has a number; one with a sleep waits so many ms, as for a provider's answer."""

    @property
    def name(self) -> str: ...

    @property
    def promise(self) -> str:
        """What holds once an enqueue call has returned."""

    def workers(self, processes: int, slots: int) -> AbstractContextManager[None]:
        """Worker processes for the length of a block. Each of them has worked when the block begins."""

    def send(self, number: int, sleep_ms: int = 0) -> None:
        """Enqueue one job; where the side knows tenants, of a quiet one."""

    def send_each(self, numbers: Iterable[int]) -> None:
        """Enqueue no-op jobs one by one, each with an answer before the next."""

    def send_all(self, numbers: Iterable[int], sleep_ms: int = 0) -> None:
        """Enqueue in the fastest way there is; where the side knows tenants, of one that is loud."""

    def spans(self, numbers: Sequence[int], *, within_s: float) -> list[Span]:
        """When these jobs began and ended, in this order, as soon as all have. Raises TimeoutError."""

    def empty(self) -> None:
        """Forget all jobs. No workers run."""
