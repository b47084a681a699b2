"""The simulator as a server on the loopback address."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from errors import ConfigurationError
from simulator.protocol.app import build_app
from simulator.protocol.delivery import DeliveryPace

HOST = "127.0.0.1"
BACKLOG = 4_096
# Longer than any client keeps an idle connection, so that none is closed while a request is on its way.
KEEP_ALIVE_S = 75
GRACE_S = 1


def serve(
    *, port: int = 0, port_file: Path | None = None, seed: int = 0, listening: Callable[[int], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; calls that are still running then get a second to end.

    :param port: the port, or 0 for a free one.
    :param port_file: the port is written to it once the server listens.
    :param listening: called with the port once the server listens.
    :raises ConfigurationError: when the port cannot be used.
    """

    def announce(bound: int) -> None:
        if port_file is not None:
            _write_port(port_file, bound)
        if listening is not None:
            listening(bound)

    server = SimulatorServer(bind(port), announce, seed=seed)
    # uvicorn raises the signal again after it has shut down; this handler makes that an orderly exit.
    if threading.current_thread() is threading.main_thread():
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda *_: None)
    server.run()


def bind(port: int) -> socket.socket:
    """A socket on the loopback address.

    :raises ConfigurationError: when the port cannot be used.
    """
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer waits 40 ms for an ACK.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigurationError(
            f"cannot listen on {HOST}: {error}", field="port", value=port, hint="Choose another, or 0 for a free one."
        ) from error
    bound.listen(BACKLOG)
    return bound


class SimulatorServer(uvicorn.Server):
    """uvicorn with the simulator's routes, which reports when it listens."""

    def __init__(
        self, bound: socket.socket, announce: Callable[[int], None], *, seed: int = 0, pace: DeliveryPace | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                build_app(seed=seed, pace=pace),
                log_config=None,
                log_level="critical",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                date_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._bound = bound
        self._announce = announce

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets or [self._bound])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce(self._bound.getsockname()[1])


def _write_port(path: Path, port: int) -> None:
    """Write the port so that a reader sees all of it or nothing."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(f"{port}\n")
    fresh.replace(path)
