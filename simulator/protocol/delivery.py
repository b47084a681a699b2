"""The ways in which an answer reaches the client: whole, cut in the middle, a byte at a time, without end, packed, or
never.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from starlette.types import Receive, Send

Headers = list[tuple[bytes, bytes]]


MB: Final = 1024 * 1024
_FLOOD_MB: Final = 1024  # even a flood ends, to protect the machine
_BOMB_MB: Final = 256


@dataclass(frozen=True, slots=True)
class DeliveryPace:
    """The bounds of the slow faults, s."""

    hang_s: float = 120.0
    drip_every_s: float = 0.2
    drip_s: float = 120.0


async def read_body(receive: Receive) -> bytes | None:
    """The request's body; ``None`` when the client left before it was complete."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def client_leaves(receive: Receive, within_s: float) -> bool:
    """Wait, and return whether the client left meanwhile."""
    try:
        async with asyncio.timeout(within_s):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def send_whole(send: Send, status: int, headers: Headers, parts: Sequence[bytes]) -> None:
    """Send everything; a single part with its length, several as they come."""
    if len(parts) == 1:
        headers = [*headers, _length(parts[0])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": parts[-1]})


async def send_half(send: Send, headers: Headers, body: bytes) -> None:
    """Promise the whole body and send half of it. The server drops the connection of an answer left incomplete."""
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, _length(body)]})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})


async def send_drip(receive: Receive, send: Send, headers: Headers, body: bytes, pace: DeliveryPace) -> bool:
    """Send a byte at a time until time is up, then what is left. Returns whether the client stayed to the end."""
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, _length(body)]})
    ends = time.monotonic() + pace.drip_s
    sent = 0
    while sent < len(body) - 1 and time.monotonic() < ends:
        await send({"type": "http.response.body", "body": body[sent : sent + 1], "more_body": True})
        sent += 1
        if await client_leaves(receive, pace.drip_every_s):
            return False
    await send({"type": "http.response.body", "body": body[sent:]})
    return True


async def send_flood(receive: Receive, send: Send, headers: Headers, body: bytes) -> None:
    """Send the body and then blanks, for as long as the client takes them (a gigabyte at most)."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    blanks = b" " * MB
    for _ in range(_FLOOD_MB):
        await send({"type": "http.response.body", "body": blanks, "more_body": True})
        if await client_leaves(receive, 0):
            return
    await send({"type": "http.response.body", "body": b""})


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """A quarter of a gigabyte of blanks, in a quarter of a megabyte of gzip."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return b"".join(packer.compress(b" " * MB) for _ in range(_BOMB_MB)) + packer.flush()


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode()
