"""Connections: kept, shared by threads, through a proxy where the environment names one, to nowhere unasked."""

from __future__ import annotations

import json
import re
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import httpcore2
import pytest

from errors import ConfigurationError, ProviderAnswerLostError, ProviderUnreachableError
from router.http.deadline import DeadlineTransport
from router.providers.calls import Message
from tests.router.providers.conftest import ADAPTERS, OWN_KEY, PLATFORM_KEY


def test_a_thread_keeps_its_connection(provider, adapter_to, wire, ask, an_answer):
    connections = []

    def answer_twice(connection, _: threading.Event) -> None:
        connections.append(connection)
        body = json.dumps(an_answer()).encode()
        for _ in range(2):
            received = b""
            while b"Two metres?" not in received:
                received += connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    adapter = adapter_to(provider, wire(answer_twice).url)
    request = ask(messages=(Message("user", "Two metres?"),))
    adapter.call(request)
    adapter.call(request)

    assert len(connections) == 1


class Closing:
    """A server that answers the first call on each connection, and closes it as the second comes."""

    def __init__(self, body: bytes, *, after_s: float = 0.0, but_first: bytes = b"") -> None:
        self.body, self.after_s, self.but_first = body, after_s, but_first
        self.calls: list[int] = []  # of each connection
        self.client_request_ids: list[bytes] = []

    def __call__(self, connection: socket.socket, stopped: threading.Event) -> None:
        number = len(self.calls)
        self.calls.append(0)
        while True:
            received = b""
            while b"Two metres?" not in received:
                piece = connection.recv(65_536)
                if not piece:
                    return
                received += piece
            self.calls[number] += 1
            self.client_request_ids += re.findall(rb"(?i)x-client-request-id: (\S+)", received)
            if self.calls[number] > 1:
                stopped.wait(self.after_s)
                connection.sendall(self.but_first)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(self.body) + self.body)


def test_a_request_that_meets_a_closed_connection_is_sent_again(provider, adapter_to, wire, ask, an_answer):
    behave = Closing(json.dumps(an_answer()).encode())
    adapter = adapter_to(provider, wire(behave).url)
    request = ask(messages=(Message("user", "Two metres?"),))

    for _ in range(4):
        adapter.call(request)

    assert behave.calls == [2, 2, 2, 1]
    assert set(behave.client_request_ids) == {str(request.run_id).encode()}  # still the same call


def test_one_that_meets_closed_connections_again_was_not_sent(monkeypatch, provider, adapter_to, wire, ask, an_answer):
    monkeypatch.setattr("router.http.deadline._SENT_AT_MOST", 1)
    behave = Closing(json.dumps(an_answer()).encode())
    adapter = adapter_to(provider, wire(behave).url)
    request = ask(messages=(Message("user", "Two metres?"),))
    adapter.call(request)

    with pytest.raises(ProviderUnreachableError) as caught:
        adapter.call(request)

    assert caught.value.billable is False


@pytest.mark.parametrize(
    ("after_s", "but_first"),
    [
        (1.1, b""),  # it was worked on, and may have been billed
        (0.0, b"HTTP/1.1 200 OK\r\n"),  # an answer had begun
    ],
)
def test_an_answer_that_was_lost_on_a_kept_connection_stays_lost(
    provider, adapter_to, wire, ask, an_answer, after_s, but_first
):
    behave = Closing(json.dumps(an_answer()).encode(), after_s=after_s, but_first=but_first)
    adapter = adapter_to(provider, wire(behave).url)
    request = ask(messages=(Message("user", "Two metres?"),))
    adapter.call(request)

    with pytest.raises(ProviderAnswerLostError) as caught:
        adapter.call(request)

    assert (type(caught.value), caught.value.billable) == (ProviderAnswerLostError, None)
    assert behave.calls == [2]


def test_a_connection_is_kept_for_less_than_common_servers_keep_theirs():
    for transport in DeadlineTransport()._transports:
        assert transport._pool._keepalive_expiry < 5.0  # uvicorn and Node close after 5 s


def test_many_threads_call_at_once_each_with_its_own_key(provider, adapter_to, told, ask, an_answer):
    told.answer(an_answer())
    adapter = adapter_to(provider, told.url)
    keys = [f"sk-own-{n:04}" for n in range(32)]
    start = threading.Barrier(len(keys))

    def call(key: str) -> None:
        start.wait(timeout=30)
        adapter.call(ask(api_key=key, end_user=key))

    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(call, keys))
    adapter.call(ask())

    sent = {
        (headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key"))
        for _, headers, _ in told.requests
    }
    assert sent == {*keys, PLATFORM_KEY}


def test_a_key_of_the_environment_is_never_used(monkeypatch, provider, adapter_to, told, ask, an_answer):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, "sk-of-the-environment")
    told.answer(an_answer())
    adapter = adapter_to(provider, told.url)

    adapter.call(ask())
    adapter.call(ask(api_key=OWN_KEY))

    assert not [value for _, headers, _ in told.requests for value in headers.values() if "environment" in value]


def test_a_base_url_of_the_environment_is_never_used(monkeypatch, provider, told):
    monkeypatch.setenv("OPENAI_BASE_URL", told.url)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", told.url)

    adapter = ADAPTERS[provider](PLATFORM_KEY)

    assert str(adapter._client.base_url).startswith(
        {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}[provider]
    )


@pytest.mark.parametrize(
    ("end_user", "as_sent"),
    [
        ("ada\r\nx-evil: 1 ü", "ada%0D%0Ax-evil:%201%20%C3%BC"),
        ("ada ", "ada%20"),  # a blank at an end is not allowed in a header: the HTTP client would send nothing
        (" ", "%20"),
        ("\x00", "%00"),
    ],
)
def test_a_gateway_is_told_whose_call_it_is(provider, adapter_to, told, ask, an_answer, end_user, as_sent):
    told.answer(an_answer())

    adapter_to(provider, told.url).call(ask(end_user=end_user, feature="report"))

    headers = told.last_headers
    assert headers["helicone-user-id"] == as_sent
    assert headers["helicone-property-feature"] == "report"
    assert headers["helicone-property-tenant"] == "0198c000-0000-7000-8000-00000000000a"
    assert "x-evil" not in headers


def test_the_provider_itself_gets_no_gateways_headers(provider, ask):
    adapter = ADAPTERS[provider](PLATFORM_KEY)

    assert not [name for name in adapter._headers(ask()) if name.startswith("Helicone")]


def test_a_proxy_of_the_environment_is_used(monkeypatch, provider, adapter_to, told, ask, an_answer):
    told.answer(an_answer())
    monkeypatch.setenv("http_proxy", told.url.replace("http://", "http://me:secret@"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    reply = adapter_to(provider, "http://provider.invalid").call(ask())

    path, headers, _ = told.requests[0]
    assert reply.text == "Two metres."
    assert path.startswith("http://provider.invalid/v1/")
    assert headers["proxy-authorization"].startswith("Basic ")


def test_this_machine_is_never_behind_a_proxy(monkeypatch, provider, adapter_to, told, ask, an_answer):
    told.answer(an_answer())
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:1")

    assert adapter_to(provider, told.url).call(ask()).text == "Two metres."


@pytest.mark.parametrize(
    "proxy",
    ["ftp://me:secret@proxy:1", "socks5://me:secret@proxy:1", "socks4://proxy:1", "http://me:secret@:1", "http://[::1",
     "http://proxy:0", "http://proxy:99999", "http:// proxy", "proxy:1:2", "//", "http://"],
)  # fmt: skip
def test_a_proxy_that_calls_cannot_go_through_is_refused_at_the_start(monkeypatch, provider, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with pytest.raises(ConfigurationError) as caught:
        ADAPTERS[provider](PLATFORM_KEY)

    assert caught.value.field == "HTTPS_PROXY"
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("proxy", [None, "http://proxy.invalid:3128", "socks5://proxy.invalid:1080"])
def test_every_pool_runs_over_our_network_without_a_limit(proxy):
    transport = DeadlineTransport(proxy=proxy)

    for pool in (part._pool for part in transport._transports):
        assert isinstance(pool, httpcore2.ConnectionPool)
        assert type(pool._network_backend).__name__ == "_DeadlineBackend"
        assert pool._max_connections > 1_000
    transport.close()
