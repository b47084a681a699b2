"""An answer has a limit: of bytes on the wire, of bytes when it is unpacked, and of text. No other tenant pays for it.

The servers here send for as long as the client reads. What they could send before it hung up is the proof, and for
packed answers the memory that the client allocated.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest

from errors import (
    ProviderAnswerLostError,
    ProviderAnswerTooLargeError,
    ProviderMalformedAnswerError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from router.providers.calls import Usage
from router.providers.whole import REFUSAL_BYTES, AnswerLimits
from tests.router.providers.conftest import ANSWERS, build_adapter

MB = 1024 * 1024
BUFFERS = 16 * MB  # what the kernel takes off a server without its client having read it, with room to spare
ENOUGH = 256 * MB  # a server gives up after this, and so the test fails
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def request_read(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n{" not in received:
        received += connection.recv(65_536)


class Flood:
    """Sends a head, then one piece for ever; ``sent`` is how far it came."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.head = head
        self.piece = piece * max(1, 65_536 // len(piece))
        self.sent = 0

    def __call__(self, connection: socket.socket, stopped: threading.Event) -> None:
        request_read(connection)
        connection.sendall(self.head)
        while self.sent < ENOUGH and not stopped.is_set():
            self.sent += connection.send(self.piece)


CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
FLOODS = {
    "body": (OK + b"\r\n{", b" " * 1_000),
    "promised_body": (OK + b"content-length: 99999999999\r\n\r\n{", b" " * 1_000),
    "chunks": (CHUNKED, b"400\r\n" + b" " * 1_024 + b"\r\n"),
    "chunks_of_one_byte": (CHUNKED, b"1\r\n \r\n"),
    "chunk_extensions": (CHUNKED, b"1;" + b"a" * 10_000 + b"\r\n \r\n"),
    "one_chunk_extension": (CHUNKED + b"1;", b"a" * 1_000),
    "headers": (OK, b"x-more: " + b"a" * 1_000 + b"\r\n"),
    "one_header": (OK + b"x-more: ", b"a" * 1_000),
    "interim_responses": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    "trailers": (CHUNKED + b"0\r\n", b"x-more: " + b"a" * 1_000 + b"\r\n"),
    "gzip": (
        OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(b"{")[:10],
        b"\x00\x00\x00\xff\xff",  # blocks that hold nothing
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_server_that_sends_without_end_is_left(provider, wire, ask, flood):
    behave = Flood(*FLOODS[flood])
    adapter = build_adapter(provider, wire(behave).url)

    with pytest.raises(ProviderAnswerLostError) as caught:
        adapter.call(ask())

    assert caught.value.billable is None
    assert behave.sent < 8 * MB + BUFFERS


def test_a_limit_on_the_wire_says_so(provider, wire, ask):
    adapter = build_adapter(provider, wire(Flood(*FLOODS["body"])).url, limits=AnswerLimits(bytes=MB))

    with pytest.raises(ProviderAnswerTooLargeError, match="1048576 bytes"):
        adapter.call(ask())


@pytest.mark.parametrize(
    ("status", "kind"), [(400, ProviderRefusedError), (307, ProviderRefusedError), (503, ProviderUnavailableError)]
)
def test_of_an_error_without_end_the_status_counts(provider, wire, ask, status, kind):
    head = b"HTTP/1.1 %d Oops\r\nlocation: ://[\r\nretry-after: 3\r\n\r\n" % status
    behave = Flood(head, b"blah ")
    adapter = build_adapter(provider, wire(behave).url)

    with pytest.raises(kind) as caught:
        adapter.call(ask())

    assert type(caught.value) is kind
    assert (caught.value.http_status, caught.value.billable, caught.value.retry_after_s) == (status, False, 3.0)
    assert behave.sent < REFUSAL_BYTES + BUFFERS


def deflate(data: bytes, bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(data) + packer.flush()


def bomb(bits: int = 16 + zlib.MAX_WBITS) -> bytes:
    """Blanks, a thousandth of their size; of a gigabyte no more would be unpacked."""
    packer = zlib.compressobj(1, wbits=bits)
    piece = b" " * MB
    return b"".join(packer.compress(piece) for _ in range(192)) + packer.flush()


@pytest.fixture(scope="module")
def bombs() -> dict[str, tuple[bytes, str]]:
    one = bomb()
    return {
        "gzip": (one, "gzip"),
        "deflate": (bomb(zlib.MAX_WBITS), "deflate"),
        "raw_deflate": (bomb(-zlib.MAX_WBITS), "deflate"),
        "twice": (gzip.compress(one), "gzip, gzip"),
        "with_a_list": (gzip.compress(one), "identity, GZIP ,x-gzip"),
    }


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """The most bytes that Python held at once since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["gzip", "deflate", "raw_deflate", "twice", "with_a_list"])
@pytest.mark.parametrize("status", [200, 503])
def test_what_is_packed_is_not_unpacked_beyond_the_limit(provider, told, ask, bombs, memory, kind, status):
    packed, coding = bombs[kind]
    adapter = build_adapter(provider, told.url)
    told.answer(packed, status, content_encoding=coding)

    with pytest.raises(ProviderAnswerTooLargeError if status == 200 else ProviderUnavailableError):
        adapter.call(ask())

    assert memory() < 64 * MB


@pytest.mark.parametrize(
    ("pack", "coding"),
    [
        (gzip.compress, "gzip"),
        (gzip.compress, "X-GZip"),
        (lambda data: gzip.compress(data) + b"\n", "gzip"),
        (lambda data: deflate(data, zlib.MAX_WBITS), "deflate"),
        (lambda data: deflate(data, -zlib.MAX_WBITS), "deflate"),
        (lambda data: gzip.compress(deflate(data, zlib.MAX_WBITS)), "deflate, gzip"),
        (lambda data: data, "identity"),
        (lambda data: data, "utf-8"),
    ],
)
def test_what_servers_pack_is_read(provider, told, ask, an_answer, pack, coding):
    told.answer(pack(json.dumps(an_answer()).encode()), content_encoding=coding)

    assert build_adapter(provider, told.url).call(ask()).text == "Two metres."
    assert told.last_headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip, gzip, gzip"])
def test_what_was_not_asked_for_is_named(provider, told, ask, coding):
    told.answer(b"\x0b\x02\x80{}\x03", content_encoding=coding)

    with pytest.raises(ProviderMalformedAnswerError, match="packed") as caught:
        build_adapter(provider, told.url).call(ask())

    assert caught.value.billable is None


def test_a_text_that_is_too_long_is_an_error_at_its_usage(provider, told, ask):
    told.answer(ANSWERS[provider]("a" * 1_001))
    adapter = build_adapter(provider, told.url, limits=AnswerLimits(characters=1_000))

    with pytest.raises(ProviderAnswerTooLargeError, match="1000 characters") as caught:
        adapter.call(ask())

    assert (caught.value.billable, caught.value.usage) == (True, Usage(120, 70, 30, 50, 40))


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/json; charset=zlib_codec"},
        {"content_type": "application/json; charset=punycode"},
        {"content_type": 'text/html; charset="nonsense'},
        {"set_cookie": "a=" + "b" * 60_000},
        {"location": "://["},
        {"x_request_id": "r" * 60_000, "request_id": "r" * 60_000},
        {"x_request_id": "caf\xe9\x85", "request_id": "caf\xe9\x85"},
        {"retry_after": "soon", "date": "never", "x_should_retry": "true", "connection": "nonsense"},
    ],
    ids=lambda headers: next(iter(headers)),
)
@pytest.mark.parametrize("status", [200, 302, 429])
def test_absurd_headers_change_nothing(provider, told, ask, an_answer, headers, status):
    adapter = build_adapter(provider, told.url)
    told.answer(an_answer() if status == 200 else {"error": {"message": "no"}}, status, **headers)
    for _ in range(2):
        if status == 200:
            reply = adapter.call(ask())
            assert reply.text == "Two metres."
            request_id = reply.provider_request_id
        else:
            with pytest.raises(ProviderRefusedError if status == 302 else Exception) as caught:
                adapter.call(ask())
            assert caught.value.http_status == status
            request_id = caught.value.request_id
        assert len(request_id or "") <= 200 and (request_id or "").isprintable()
    assert "cookie" not in told.last_headers  # another tenant's call must not carry it


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"HTTP/1.1 999 Request denied", ProviderUnavailableError),
        (b"HTTP/1.1 600 ", ProviderUnavailableError),
        (b"HTTP/1.1 000 Nothing", ProviderAnswerLostError),
        (b"HTTP/1.1 101 Switching Protocols", ProviderAnswerLostError),
        (b"HTTP/1.1 99999 Much", ProviderAnswerLostError),
        (b"HTTP/9.9 200 OK", ProviderAnswerLostError),
        (b"HTTP/1.1 200 " + b"o" * 60_000, ProviderMalformedAnswerError),
    ],
)
def test_an_odd_status_is_one_of_our_errors(provider, wire, ask, line, kind):
    def answer(connection: socket.socket, _: threading.Event) -> None:
        request_read(connection)
        connection.sendall(line + b"\r\ncontent-length: 2\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)

    with pytest.raises(kind):
        build_adapter(provider, wire(answer).url).call(ask())
