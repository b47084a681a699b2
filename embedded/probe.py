"""Ask a server whether it serves, in its own protocol and without a driver."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_TIMEOUT_S = 1.0
_PROTOCOL = 196608  # version 3.0
_CANNOT_CONNECT_NOW = b"C57P03\0"


def postgres_answers(path: Path) -> bool:
    """Whether the Postgres behind a Unix socket takes connections; it does not while it starts, recovers or stops."""
    body = b"user\0postgres\0\0"
    try:
        with _connected(path) as connection:
            connection.sendall(struct.pack("!II", len(body) + 8, _PROTOCOL) + body)
            answer = connection.recv(4096)
            if answer[:1] == b"R":
                connection.sendall(struct.pack("!cI", b"X", 4))
            # Any other error, such as an unknown role, comes from a server that is up.
            return answer[:1] == b"R" or (answer[:1] == b"E" and _CANNOT_CONNECT_NOW not in answer)
    except OSError:
        return False


def valkey_answers(path: Path) -> bool:
    """Whether the Valkey or Redis behind a Unix socket answers."""
    try:
        with _connected(path) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def port_answers(port: int) -> bool:
    """Whether a program listens on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection
