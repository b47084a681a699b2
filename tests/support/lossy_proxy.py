"""A socket between a client and a server that can lose one answer: the server has done what it was asked to, and
the client never hears of it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 65536


class Loss:
    """One answer that is to be lost, or was."""

    def __init__(self, wanted: Callable[[bytes], bool], *, at_once: bool, times: int) -> None:
        self.wanted = wanted
        self.at_once = at_once  # cut while the server is still at it, else when it is done
        self.left = times
        self.cut = threading.Event()  # the client was cut off
        self.done = threading.Event()  # the server has done its work


class Proxy(ABC):
    """Listens on a unix socket and passes everything on to another, until told to lose something."""

    def __init__(self, upstream: Path, name: str) -> None:
        """:param name: of the socket file, in a directory of the proxy's own."""
        self.directory = Path(tempfile.mkdtemp(prefix="headrace-proxy-"))
        self.path = self.directory / name
        self._upstream = upstream
        self._losses: list[Loss] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets = list(self._open)
        for one in sockets:
            _shut(one)
        for thread in self._threads:
            thread.join(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def lose(self, *parts: bytes, at_once: bool = False, times: int = 1) -> Loss:
        """Lose the answer to the next request that holds all ``parts`` (to the next ``times`` of them).

        The client's connection is cut when the server has done its work, or with ``at_once`` before that.
        """
        loss = Loss(lambda request: all(part in request for part in parts), at_once=at_once, times=times)
        with self._lock:
            self._losses.append(loss)
        return loss

    # ------------------------------------------------------------------------------------------- for the protocols

    @abstractmethod
    def pump(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what one connection's two ends say, until one is gone."""

    def loss_of(self, request: bytes) -> Loss | None:
        """The loss that this request falls under, counted down."""
        with self._lock:
            for loss in self._losses:
                if loss.left and loss.wanted(request):
                    loss.left -= 1
                    return loss
        return None

    def side_by_side(self, one: Callable[[], None], other: Callable[[], None]) -> None:
        """Run both to their end."""
        thread = self._start(one)
        other()
        thread.join()

    # ------------------------------------------------------------------------------------------------------ inside

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            with self._lock:
                self._open |= {client, server}
            self._start(lambda client=client, server=server: self._serve(client, server))

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                server.connect(str(self._upstream))
                self.pump(client, server)
        finally:
            for one in (client, server):
                _shut(one)
                one.close()
            with self._lock:
                self._open -= {client, server}

    def _start(self, step: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=step, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


class PostgresProxy(Proxy):
    """Reads enough of Postgres's protocol to know which statement is asked and when its transaction is over."""

    def __init__(self, url: str) -> None:
        """:param url: one whose ``host`` is the directory of the server's socket; :attr:`url` leads through here."""
        host = url.partition("host=")[2].partition("&")[0]
        super().__init__(Path(host) / ".s.PGSQL.5432", ".s.PGSQL.5432")
        self.url = url.replace(f"host={host}", f"host={self.directory}")

    def pump(self, client: socket.socket, server: socket.socket) -> None:
        talk = _Talk()

        def ask() -> None:
            # what the client sends up to its Sync (or its one Query) is one request; statements are known by name later
            read = _Reader(client)
            server.sendall(read.startup())
            statements: dict[bytes, bytes] = {}
            request = held = b""
            while message := read.message():
                kind, body = message[:1], message[5:]
                held += message
                if kind == b"P":
                    name, text = body.split(b"\0")[:2]
                    statements[name] = text
                    request += text
                elif kind == b"B":
                    _portal, name, values = body.split(b"\0", 2)
                    request += statements.get(name, b"") + values
                elif kind == b"Q":
                    request += body
                if kind in b"PBDE":  # not before it is known what the whole request is
                    continue
                if kind in b"QS":
                    talk.begin(self.loss_of(request))
                    request = b""
                server.sendall(held)
                held = b""
                if talk.loss is not None and talk.loss.at_once:
                    _shut(client)
                    talk.loss.cut.set()
            if talk.loss is None:
                _shut(server)

        def tell() -> None:
            read = _Reader(server)
            while message := read.message():
                if talk.loss is None:
                    client.sendall(message)
                elif message[:1] == b"Z":  # ready for the next: the change is committed, and the client is not told
                    _shut(client)
                    talk.loss.cut.set()
                    talk.loss.done.set()
                    break
            _shut(client)
            _shut(server)

        self.side_by_side(_until_gone(ask), _until_gone(tell))


class RedisProxy(Proxy):
    """Loses the reply to a command or, ``at_once``, the command itself. One at a time, as the wire speaks."""

    def __init__(self, url: str) -> None:
        """:param url: ``unix://``, to the server's socket; :attr:`url` leads through here."""
        super().__init__(Path(url.removeprefix("unix://").partition("?")[0]), "valkey.sock")
        self.url = f"unix://{self.path}"

    def pump(self, client: socket.socket, server: socket.socket) -> None:
        talk = _Talk()

        def ask() -> None:
            while request := client.recv(_CHUNK):
                talk.begin(self.loss_of(request))
                if talk.loss is not None and talk.loss.at_once:
                    talk.loss.cut.set()
                    talk.loss.done.set()
                    _shut(client)
                    break
                server.sendall(request)
            _shut(server)

        def tell() -> None:
            while reply := server.recv(_CHUNK):
                if talk.loss is None:
                    client.sendall(reply)
                else:
                    talk.loss.cut.set()
                    talk.loss.done.set()
                    break
            _shut(client)
            _shut(server)

        self.side_by_side(_until_gone(ask), _until_gone(tell))


class _Talk:
    """What the two directions of one connection know of each other."""

    def __init__(self) -> None:
        self.loss: Loss | None = None

    def begin(self, loss: Loss | None) -> None:
        if self.loss is None:
            self.loss = loss


class _Reader:
    """Cuts a stream into messages: one byte of kind, four of length."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._ahead = b""

    def startup(self) -> bytes:
        """The first message has no kind."""
        head = self._take(4)
        return head + self._take(struct.unpack("!I", head)[0] - 4)

    def message(self) -> bytes:
        """The next message; empty when the stream ends."""
        head = self._take(5)
        return head and head + self._take(struct.unpack("!I", head[1:])[0] - 4)

    def _take(self, n: int) -> bytes:
        while len(self._ahead) < n:
            some = self._source.recv(_CHUNK)
            if not some:
                return b""
            self._ahead += some
        taken, self._ahead = self._ahead[:n], self._ahead[n:]
        return taken


def _until_gone(step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with contextlib.suppress(OSError):
            step()

    return run


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
