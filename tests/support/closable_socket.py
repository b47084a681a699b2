"""A socket in front of Postgres that can be shut, with every connection cut and none let in, and opened again."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

_NAME = ".s.PGSQL.5432"


class Gate:
    """Open at first. ``url`` leads through it, ``refused`` counts who came while it was shut."""

    def __init__(self, url: str) -> None:
        """:param url: one whose ``host`` is the directory of the server's socket."""
        host = url.partition("host=")[2].partition("&")[0]
        self._server = Path(host) / _NAME
        self._directory = Path(tempfile.mkdtemp(prefix="headrace-gate-"))
        self.url = url.replace(f"host={host}", f"host={self._directory}")
        self.refused = 0
        self._is_open = True
        self._lock = threading.Lock()
        self._inside: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._directory / _NAME))
        self._listener.listen(64)
        self._run(self._let_in)

    def shut(self) -> None:
        """Cut every connection and accept none."""
        with self._lock:
            self._is_open = False
            inside = list(self._inside)
        for one in inside:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let everybody in again."""
        with self._lock:
            self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.shut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _let_in(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            with self._lock:
                if self._is_open:
                    server.connect(str(self._server))
                    self._inside |= {client, server}
                    self._run(partial(self._pass_on, client, server))
                    self._run(partial(self._pass_on, server, client))
                    continue
                self.refused += 1
            client.close()
            server.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                target.sendall(some)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._inside.discard(source)

    def _run(self, step: Callable[[], None]) -> None:
        threading.Thread(target=step, daemon=True).start()
