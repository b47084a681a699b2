"""Ports for servers of a test's own."""

from __future__ import annotations

import random
import socket

_DICE = random.SystemRandom()


def free_port() -> int:
    """A TCP port of the loopback without a listener.

    Of those that no outgoing connection is ever given, and by chance: so several pytest processes that look at the same
    time find different ones, and no other process takes it until the server is up.
    """
    while True:
        port = _DICE.randrange(12_000, 32_000)
        with socket.socket() as one:
            # as a server does: what a killed predecessor left in TIME_WAIT is not an obstacle
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
