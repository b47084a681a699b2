"""Kept connections, for threads and for asyncio; and how a forked child treats the connections that it inherited.

A child inherits every open socket. If both processes used one, each would read answers that were meant for the other.
So a child drops the inherited connections before any other code runs in it. Dropping is not closing: an orderly close
of an inherited socket would end the parent's connection. Its descriptor leads nowhere from then on.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol
from weakref import WeakSet

import psycopg

from headrace_client.errors import PostgresUnavailableError
from headrace_client.server import SESSION, is_fit_after

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]


class Renewed(Protocol):
    """Something that a child cannot use as it was inherited."""

    def renew_in_child(self) -> None:
        """Drop what belongs to the parent. Runs in a child that has only one thread yet."""


_open: WeakSet[Any] = WeakSet()  # connections of ours
_renewed: WeakSet[Any] = WeakSet()
_inherited: list[Any] = []  # kept, so that nothing of it is ever finalized here


def renew_in_child(one: Renewed) -> None:
    """Have ``one`` renewed in every forked child, as long as it lives."""
    _renewed.add(one)


def _in_child() -> None:
    for connection in list(_open):
        _inherited.append(connection)
        if not connection.closed:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, connection.fileno(), inheritable=False)
            os.close(nowhere)
    _open.clear()
    for one in list(_renewed):
        one.renew_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _none_free(connections: int, within_s: float) -> PostgresUnavailableError:
    return PostgresUnavailableError(
        f"all {connections} connections were in use for {within_s:g} s", hint="Give the client more connections."
    )


class Connections:
    """For many threads: a bounded number at once, kept open. Safe in a forked child."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._most = connections
        self.renew_in_child()
        renew_in_child(self)

    def renew_in_child(self) -> None:
        """None is open yet in this process."""
        self._free = threading.BoundedSemaphore(self._most)
        self._idle: list[Connection] = []

    @contextmanager
    def one(self, *, within_s: float) -> Iterator[Connection]:
        """A connection for this thread alone; after an error that it did not survive it is not kept."""
        free, idle = self._free, self._idle
        if not free.acquire(timeout=max(within_s, 0.0)):
            raise _none_free(self._most, within_s)
        try:
            try:
                connection = idle.pop()
            except IndexError:
                connection = psycopg.Connection[Any].connect(self._url, **SESSION)
                _open.add(connection)
            try:
                yield connection
            except BaseException as error:
                if not is_fit_after(error):
                    connection.close()
                raise
            finally:
                if not connection.closed:
                    idle.append(connection)
        finally:
            free.release()

    def close(self) -> None:
        """Close idle connections; those in use are closed by their finalizers."""
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return


class AsyncConnections:
    """For asyncio: a bounded number at once in an event loop, kept open. Each loop has its own."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._most = connections
        self.renew_in_child()
        renew_in_child(self)

    def renew_in_child(self) -> None:
        """None is open yet in this process."""
        self._of_loops: dict[asyncio.AbstractEventLoop, _OfLoop] = {}

    @asynccontextmanager
    async def one(self, *, within_s: float) -> AsyncIterator[AsyncConnection]:
        """A connection for this task alone; after an error or a cancellation it is not kept."""
        ours = self._ours()
        try:
            async with asyncio.timeout(max(within_s, 0.0)):
                await ours.free.acquire()
        except TimeoutError:
            raise _none_free(self._most, within_s) from None
        try:
            try:
                connection = ours.idle.pop()
            except IndexError:
                connection = await psycopg.AsyncConnection[Any].connect(self._url, **SESSION)
                _open.add(connection)
            try:
                yield connection
            except BaseException as error:
                if not is_fit_after(error):
                    connection.pgconn.finish()  # at once: a task that was cancelled waits for nothing more
                raise
            finally:
                if not connection.closed:
                    ours.idle.append(connection)
        finally:
            ours.free.release()

    def finish(self) -> None:
        """Close idle connections in every event loop, without waiting."""
        for ours in list(self._of_loops.values()):
            ours.finish()

    async def close(self) -> None:
        """Close idle connections in this event loop."""
        idle = self._ours().idle
        while idle:
            await idle.pop().close()

    def _ours(self) -> _OfLoop:
        loop = asyncio.get_running_loop()
        for other in list(self._of_loops):
            if other.is_closed() and (ended := self._of_loops.pop(other, None)) is not None:  # of an asyncio.run()
                ended.finish()
        return self._of_loops.setdefault(loop, _OfLoop(self._most))


class _OfLoop:
    def __init__(self, most: int) -> None:
        self.free = asyncio.Semaphore(most)
        self.idle: list[AsyncConnection] = []

    def finish(self) -> None:
        """Close idle connections; their loop need not run any more."""
        while self.idle:
            connection = self.idle.pop()
            connection.pgconn.finish()


class Patience:
    """How long a call keeps trying while Postgres does not answer, and how long it waits between."""

    def __init__(self, seconds: float) -> None:
        self._started = time.monotonic()
        self._seconds = seconds
        self._pause_s = 0.0  # the first repeat is at once: a kept connection may have been closed by the other end

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._started

    @property
    def left_s(self) -> float:
        return self._seconds - self.waited_s

    def pause_s(self) -> float | None:
        """The time to wait before the next try; None when there is to be none."""
        pause_s, self._pause_s = self._pause_s, min(max(self._pause_s * 2, 0.05), 1.0)
        return None if pause_s > self.left_s else pause_s
