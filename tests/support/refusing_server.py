"""Answers of a provider that refuses, and a request read off a socket."""

from __future__ import annotations

import socket


def refusal(provider: str, kind: str, message: str = "because") -> dict:
    """An error body as the provider writes it."""
    if provider == "openai":
        return {"error": {"type": kind, "code": kind, "message": message, "param": None}}
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_in_body"}


def request_read(connection: socket.socket) -> None:
    """Read from the connection until the request's body has begun."""
    received = b""
    while b"\r\n\r\n{" not in received:
        received += connection.recv(65_536)
