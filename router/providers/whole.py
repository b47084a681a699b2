"""A response read to its end, under limits: on bytes on the wire, on bytes when unpacked, and on overhead between them.

The SDKs read every response in full, errors too, and unpack it on the way. A server that never ends, or a megabyte of
gzip that holds a gigabyte, would fill this process's memory well within a call's time. So it is read here, below them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import httpx2

from router.providers.text import one_line

#: Bytes on the wire up to the end of a response's head, interim responses (1xx) included.
HEAD_BYTES: Final = 128 * 1024
#: Bytes of a body with a status that is not 2xx. The rest is not read: the status has said what matters.
REFUSAL_BYTES: Final = 64 * 1024
#: The wire's allowance beside the body (chunks' heads and extensions), besides as much again as the body.
_PACKING_BYTES: Final = 256 * 1024
_MOST_CODINGS: Final = 3

_GZIP = 16 + zlib.MAX_WBITS
# Headers that no longer describe the body. Cookies would be kept for other tenants' calls, and a redirect that is not
# followed need not be understood.
_DROPPED = frozenset(
    {b"content-encoding", b"content-length", b"transfer-encoding", b"content-type", b"set-cookie", b"location"}
)


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """The largest answer of a provider: bytes on the wire (and as many when unpacked), and characters of text."""

    bytes: int = 8 * 1024 * 1024
    characters: int = 2_000_000


class TooLargeError(httpx2.TransportError):
    """A response exceeded a limit and was not read to its end."""


class Meter:
    """Counts the bytes that a call reads from the wire."""

    __slots__ = ("_limit", "_most", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.allow(HEAD_BYTES)

    def allow(self, most: int) -> None:
        """Allow that many more bytes from here on."""
        self._most = most
        self._limit = self.taken + most

    def take(self, size: int) -> None:
        """Note ``size`` more bytes."""
        self.taken += size
        if self.taken > self._limit:
            raise TooLargeError(f"it has more than {self._most} bytes")


_meter: ContextVar[Meter | None] = ContextVar("call_meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count the bytes that this thread reads from the network in this block."""
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


def taken_off_the_wire(size: int) -> None:
    """Note that this thread read ``size`` bytes from the network.

    :raises TooLargeError: more came than the call may take.
    """
    meter = _meter.get()
    if meter is not None:
        meter.take(size)


def read_whole(response: httpx2.Response, meter: Meter, limits: AnswerLimits) -> httpx2.Response:
    """The same response with its body read and unpacked. A connection that has more to send is closed.

    :raises TooLargeError: an answer is beyond a limit. An error's body is cut instead.
    :raises httpx2.DecodingError: an answer cannot be unpacked. An error's body is dropped instead.
    """
    answered = response.is_success
    most = limits.bytes if answered else REFUSAL_BYTES
    codings = _codings(response.headers.get("content-encoding"))
    read = bytearray()
    body = b""
    try:
        _read(response.stream, meter, most, into=read)
        body = _unpacked(bytes(read), codings, most)
    except (TooLargeError, httpx2.DecodingError):
        if answered:
            raise
        body = b"" if codings else bytes(read[:most])
    finally:
        response.close()
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _DROPPED]
    # Without its charset: some of Python's codecs unpack, and some take quadratic time.
    media_type = response.headers.get("content-type", "").partition(";")[0]
    headers.append((b"content-type", media_type.strip().lower().encode("ascii", "replace")))
    extensions = dict(response.extensions) | {"packed_with": _packed_with(response)}
    return httpx2.Response(response.status_code, headers=headers, content=body, extensions=extensions)


def _packed_with(response: httpx2.Response) -> str:
    """The compression that the server names for the body and that was not undone; ``""`` for none."""
    named = response.headers.get("content-encoding", "").strip().lower()
    undone = all(coding in {"gzip", "deflate"} for coding in _codings(named)) and bool(_codings(named))
    return "" if undone or named in {"", "identity"} else one_line(named, 40)


def _read(stream: object, meter: Meter, most: int, *, into: bytearray) -> None:
    assert isinstance(stream, httpx2.SyncByteStream), "a blocking client has blocking streams"
    meter.allow(most)
    for piece in stream:
        into += piece
        if meter.taken > _PACKING_BYTES + 2 * len(into):
            raise TooLargeError("its chunks have more bytes than the answer in them")


def _codings(header: str | None) -> list[str]:
    """The codings of a body in the order in which they were applied, by their short names."""
    if not header:
        return []
    named = [coding.strip().lower().removeprefix("x-") for coding in header[:200].split(",")]
    known = [coding for coding in named if coding in {"gzip", "deflate", "br", "zstd", "compress"}]
    return known[: _MOST_CODINGS + 1]


def _unpacked(body: bytes, codings: list[str], most: int) -> bytes:
    if len(codings) > _MOST_CODINGS:
        raise httpx2.DecodingError(f"it is packed more than {_MOST_CODINGS} times")
    for coding in reversed(codings):
        body = _unpack(body, coding, most)
    return body


def _unpack(packed: bytes, coding: str, most: int) -> bytes:
    """One coding undone. Only codings that were asked for are known: ``gzip``, and ``deflate`` for servers that choose
    it by themselves.

    A body that ends too early yields its part; its reader sees whether that is enough.
    """
    if coding not in {"gzip", "deflate"}:
        raise httpx2.DecodingError(f"it is packed with {coding}, which was not asked for")
    for bits in (_GZIP,) if coding == "gzip" else (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            unpacked = zlib.decompressobj(bits).decompress(packed, most + 1)
        except zlib.error as error:
            broken = error
            continue
        if len(unpacked) > most:
            raise TooLargeError(f"it has more than {most} bytes when it is unpacked")
        return unpacked
    raise httpx2.DecodingError(f"its {coding} is broken") from broken
