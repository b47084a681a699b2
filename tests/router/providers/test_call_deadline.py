"""Every call ends by its deadline, whatever the server does with it.

Each server here would go on for half a minute; that it had not come to its end when the call was over is the proof.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading

import httpcore2
import pytest

from errors import ProviderTimeoutError, ProviderUnreachableError
from router.http.deadline import _DeadlineStream, deadline
from router.providers.calls import Message

TIMEOUT_S = 0.5
ENOUGH = 300  # drips of 0.1 s each


def request_read(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n{" not in received:
        received += connection.recv(65_536)


def drip(connection: socket.socket, stopped: threading.Event, piece: bytes) -> None:
    for _ in range(ENOUGH):
        connection.sendall(piece)
        if stopped.wait(0.1):
            return


def drip_a_header(connection: socket.socket, stopped: threading.Event) -> None:
    request_read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-long: ")
    drip(connection, stopped, b"a")


def drip_early_hints(connection: socket.socket, stopped: threading.Event) -> None:
    request_read(connection)
    drip(connection, stopped, b"HTTP/1.1 103 Early Hints\r\n\r\n")


def drip_the_body(connection: socket.socket, stopped: threading.Event) -> None:
    request_read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
    drip(connection, stopped, b" ")


def drip_an_error(connection: socket.socket, stopped: threading.Event) -> None:
    request_read(connection)
    connection.sendall(b"HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
    drip(connection, stopped, b" ")


def drip_chunks(connection: socket.socket, stopped: threading.Event) -> None:
    request_read(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    drip(connection, stopped, b"1\r\n \r\n")


def hang(connection: socket.socket, stopped: threading.Event) -> None:
    request_read(connection)
    stopped.wait(30)


@pytest.mark.parametrize(
    "behave",
    [drip_a_header, drip_early_hints, drip_the_body, drip_an_error, drip_chunks, hang],
    ids=lambda f: f.__name__,
)
def test_a_call_ends_while_the_server_goes_on(provider, adapter_to, wire, ask, behave):
    server = wire(behave)

    with pytest.raises(ProviderTimeoutError) as caught:
        adapter_to(provider, server.url).call(ask(timeout_s=TIMEOUT_S))

    assert not server.through.is_set()
    assert caught.value.billable is None


def test_a_server_that_reads_slowly_cannot_hold_a_call(provider, adapter_to, wire, ask):
    size = 30_000_000  # far more than the kernel's buffers take

    def sip(connection: socket.socket, stopped: threading.Event) -> None:
        received = 0
        while received < size // 2:
            piece = connection.recv(65_536)  # steadily, so that no single write waits for long
            received += len(piece)
            if not piece or stopped.wait(0.01):
                raise OSError("the client has gone")

    server = wire(sip, receive_buffer=65_536)

    # on a busy machine the time may be over before anything is sent
    with pytest.raises((ProviderTimeoutError, ProviderUnreachableError)) as caught:
        adapter_to(provider, server.url).call(ask(messages=(Message("user", "x" * size),), timeout_s=TIMEOUT_S))

    assert caught.value.timed_out
    assert not server.through.is_set()


def test_the_deadline_holds_inside_tls_too():
    encrypted = _DeadlineStream(httpcore2.MockStream([b"late"]), "a:1").start_tls(ssl.create_default_context())

    with deadline(0.0), pytest.raises(httpcore2.ReadTimeout):
        encrypted.read(10)


def test_a_server_that_does_not_accept_cannot_hold_a_call(provider, adapter_to, ask):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for queued in waiting:  # the queue is full after these; the next handshake gets no answer
                queued.setblocking(False)
                queued.connect_ex(address)

            with pytest.raises(ProviderUnreachableError) as caught:
                adapter_to(provider, f"http://127.0.0.1:{address[1]}").call(ask(timeout_s=TIMEOUT_S))
        finally:
            for queued in waiting:
                queued.close()

    assert caught.value.message == f"no connection to 127.0.0.1:{address[1]} in time"
    assert caught.value.billable is False


def test_a_tls_handshake_that_hangs_cannot_hold_a_call(provider, adapter_to, wire, ask):
    def hang_in_the_handshake(connection: socket.socket, stopped: threading.Event) -> None:
        stopped.wait(30)

    server = wire(hang_in_the_handshake)

    with pytest.raises(ProviderUnreachableError):
        adapter_to(provider, server.url.replace("http:", "https:")).call(ask(timeout_s=TIMEOUT_S))

    assert not server.through.is_set()


def test_a_deadline_that_has_passed_already_sends_nothing(provider, adapter_to, told, ask):
    with pytest.raises(ProviderUnreachableError):
        adapter_to(provider, told.url).call(ask(timeout_s=0.0))

    assert told.requests == []


def test_after_a_timeout_the_next_call_is_a_new_one(provider, adapter_to, wire, ask, an_answer):
    calls = []

    def hang_once(connection: socket.socket, stopped: threading.Event) -> None:
        calls.append(connection)
        request_read(connection)
        if len(calls) == 1:
            stopped.wait(30)
            return
        body = json.dumps(an_answer()).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    adapter = adapter_to(provider, wire(hang_once).url)
    with pytest.raises(ProviderTimeoutError):
        adapter.call(ask(timeout_s=TIMEOUT_S))

    assert adapter.call(ask()).text == "Two metres."
    assert len(calls) == 2
