"""An error says what happened: which host and port, what came instead of an answer, which reason the server gave."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from errors import (
    ProviderAnswerLostError,
    ProviderError,
    ProviderMalformedAnswerError,
    ProviderTimeoutError,
    ProviderUnreachableError,
)
from router.providers.bodies import reason_in, reason_of, what_came
from router.providers.connections import why_not_connected
from router.providers.failures import without_answer
from tests.router.providers.conftest import PLATFORM_KEY, Told, build_adapter, told_server
from tests.support.refusing_server import request_read
from tests.support.required import absent

# --------------------------------------------------------------------------------------------- no connection was made


def certificate(folder: Path, name: str, *, alternative: str) -> Path:
    """A self-signed certificate and its key, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        absent("openssl")
    key, pem = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}", "-days", "2", "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_text(pem.read_text() + key.read_text())
    return pem


@contextmanager
def tls_server(pem: Path) -> Iterator[int]:
    """A server that shakes hands with this certificate; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("alternative", "trusted", "says"),
    [
        ("DNS:localhost", False, "the certificate of localhost:{port} cannot be trusted: self"),
        ("DNS:elsewhere.test", True, "the certificate of localhost:{port} is for another host name"),
    ],
    ids=["self-signed", "of another host"],
)
def test_a_bad_certificate_is_told_from_one_of_another_host(
    tmp_path, monkeypatch, provider, ask, alternative, trusted, says
):
    pem = certificate(tmp_path, "one", alternative=alternative)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with tls_server(pem) as port, pytest.raises(ProviderUnreachableError) as caught:
        build_adapter(provider, f"https://me:secret@localhost:{port}").call(ask())

    assert caught.value.message.startswith(says.format(port=port))
    assert "secret" not in caught.value.message
    assert caught.value.billable is False


def test_refused_reset_and_without_tls_are_told_apart(provider, ask, wire, told):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused = taken.getsockname()[1]
        tells = [(f"http://127.0.0.1:{refused}", f"127.0.0.1:{refused} refuses connections")]
        tells.append((told.url.replace("http:", "https:"), f"no TLS connection to {told.url[7:]} ("))
        closing = wire(lambda connection: connection.recv(1))
        tells.append((closing.url.replace("http:", "https:"), f"127.0.0.1:{closing.port}"))
        said = []
        for url, starts in tells:
            with pytest.raises(ProviderUnreachableError) as caught:
                build_adapter(provider, url).call(ask())
            said.append(caught.value.message)
            assert starts in caught.value.message
    assert len(set(said)) == 3


def test_a_proxy_that_refuses_is_named_with_its_answer(monkeypatch, provider, ask, wire):
    def refuse(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 403 Not From Here\r\ncontent-length: 0\r\n\r\n")

    proxy = wire(refuse)
    monkeypatch.setenv("https_proxy", proxy.url.replace("http://", "http://me:secret@"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with pytest.raises(ProviderUnreachableError) as caught:
        build_adapter(provider, "https://provider.invalid").call(ask())

    assert caught.value.message == f"the proxy 127.0.0.1:{proxy.port} does not connect us: 403 Not From Here"


def caused(inner: BaseException) -> httpx2.ConnectError:
    """An exception as the HTTP client raises it, over two layers."""
    outer, middle = httpx2.ConnectError("[Errno -2] words of a library"), RuntimeError("between")
    outer.__cause__, middle.__context__ = middle, inner
    return outer


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (caused(socket.gaierror(socket.EAI_NONAME, "?")), "there is no such host: api.test:443"),
        (caused(socket.gaierror(socket.EAI_AGAIN, "?")), "the host name cannot be looked up now: api.test:443"),
        (caused(ConnectionRefusedError()), "api.test:443 refuses connections: does a server listen there?"),
        (caused(OSError(errno.EHOSTUNREACH, "?")), "api.test:443 cannot be reached from here: there is no route to it"),
        (caused(OSError(errno.ENETUNREACH, "?")), "api.test:443 cannot be reached from here: there is no route to it"),
        (caused(ConnectionResetError()), "api.test:443 closed the connection while it was being made"),
        (httpx2.ConnectTimeout("?"), "no connection to api.test:443 in time"),
        (httpx2.ConnectError("?"), "no connection to api.test:443 (ConnectError)"),
    ],
)
def test_each_way_of_not_connecting_has_its_own_words(cause, says):
    assert why_not_connected(cause, "api.test:443") == says


def test_an_exception_that_leads_back_to_itself_ends():
    one, other = httpx2.ConnectError("?"), RuntimeError("?")
    one.__cause__, other.__cause__ = other, one
    assert why_not_connected(one, "") == "no connection to the server (ConnectError)"


# --------------------------------------------------------------------------------------------- no whole answer came


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "127.0.0.1:{port} closed the connection without an answer"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{",
            "127.0.0.1:{port} closed the connection in the middle of its answer",
        ),
        (b"nonsense <script>\r\n\r\n", "what 127.0.0.1:{port} sent is not HTTP"),
    ],
)
def test_how_a_connection_broke(provider, wire, ask, sent, says):
    def cut(connection: socket.socket, _: threading.Event) -> None:
        request_read(connection)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)

    server = wire(cut)
    with pytest.raises(ProviderAnswerLostError) as caught:
        build_adapter(provider, server.url).call(ask())

    assert caught.value.message == says.format(port=server.port)


def test_a_reset_and_a_timeout_name_the_server():
    reset = httpx2.ReadError("[Errno 104] Connection reset by peer")
    reset.__cause__ = ConnectionResetError()
    assert without_answer("openai", reset, sent=True, place="a:1").message == (
        "a:1 reset the connection before it had answered"
    )
    late = without_answer("openai", httpx2.ReadTimeout("?"), sent=True, place="a:1")
    assert (type(late), late.message) == (ProviderTimeoutError, "no whole answer of a:1 in time")


# ------------------------------------------------------------------------------------------------ what came instead


@pytest.fixture(scope="module")
def server() -> Iterator[Told]:
    with told_server() as told:
        yield told


@pytest.fixture(scope="module")
def adapters(server: Told) -> dict[str, Any]:
    return {provider: build_adapter(provider, server.url) for provider in ("openai", "anthropic")}


PAGE = (
    b"<!DOCTYPE html><html><head><title>Sign in &amp; go</title><style>p{color:red}</style>"
    b"<script>if (a<b) { x = '<p>no</p>' }</script></head><body><h1>Sign in &amp; go</h1>"
    b"<p>Your network asks.</p></body></html>"
)


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (PAGE, {}, "a web page came: Sign in & go Your network asks."),
        (b"<p>hello</p>", {"content-type": "Text/HTML; charset=x"}, "a web page came: hello"),
        (b"", {}, "an empty body came"),
        (b" \n", {}, "an empty body came"),
        (b"null", {}, "JSON came, but null and not an object"),
        (b"[1]", {}, "JSON came, but a list and not an object"),
        (b'"words"', {}, "JSON came, but a text and not an object"),
        (b"17", {}, "JSON came, but a number and not an object"),
        (b'{"id": "resp_', {}, "JSON came that cannot be read: it ends too early"),
        (b"{}", {}, "an object came without an answer or a usage, with nothing in it"),
        (b'{"result": 1, "ok": true}', {}, "an object came without an answer or a usage, with result, ok"),
        (b"data: {}\n\n", {}, "a stream of events came, which was not asked for"),
        (b"x", {"content-type": "text/event-stream"}, "a stream of events came, which was not asked for"),
        (b"<?xml version='1.0'?><Error/>", {}, "XML came"),
        (b"upstream connect error", {}, "plain text came: upstream connect error"),
        (b"key sk-platform-0123456789abcdef, " + b"x" * 900, {}, "plain text came: key [key], xxx"),
        (b"\x1b\x0f\x00\xa0\xc3\xff" * 40, {}, "something that is neither JSON nor text came"),
        (b"\x1b\x0f\x00\xa0\xc3\xff" * 40, {"content-encoding": "snappy"}, "came, said to be packed with snappy"),
        (b"{}", {"content-encoding": "br"}, "it is packed with br, which was not asked for"),
        (b"{}", {"content-encoding": "zstd"}, "it is packed with zstd, which was not asked for"),
    ],
)
def test_what_came_instead_of_an_answer_is_told(provider, server, adapters, ask, body, headers, says):
    server.body, server.status, server.headers = body, 200, headers

    with pytest.raises(ProviderMalformedAnswerError) as caught:
        adapters[provider].call(ask())

    assert says in caught.value.message
    assert PLATFORM_KEY not in caught.value.message
    assert len(caught.value.message) < 500 and caught.value.message.isprintable()


def test_an_unknown_packing_that_packs_nothing_does_no_harm(provider, server, adapters, ask, an_answer):
    server.body, server.status, server.headers = an_answer(), 200, {"content-encoding": "utf-8"}

    assert adapters[provider].call(ask()).text == "Two metres."


# ------------------------------------------------------------------------------------------------- the server's reason

FASTAPI = {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": {"a": "prompt"}}]}


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        ({"error": "model 'llama9' not found"}, {}, "HTTP 404: model 'llama9' not found"),
        ({"error": {"message": "because"}}, {}, "HTTP 404: because"),
        ({"detail": "Not Found"}, {}, "HTTP 404: Not Found"),
        (FASTAPI, {}, "HTTP 404: body.model: Field required"),
        ({"detail": {"error": {"message": "deep"}}}, {}, "HTTP 404: deep"),
        ({"title": "Bad", "detail": "No such thing", "status": 404}, {}, "HTTP 404: Bad: No such thing"),
        ({"message": "no Route matched", "request_id": "x"}, {}, "HTTP 404: no Route matched"),
        ([{"error": {"code": 404, "message": "of a list", "status": "NOT_FOUND"}}], {}, "HTTP 404: of a list"),
        ({"errors": [{"message": "one"}, {"message": "two"}, {"message": "two"}]}, {}, "HTTP 404: one; two"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "the upstream's own words"}}},
            {},
            "HTTP 404: Provider returned error: the upstream's own words",
        ),
        (PAGE, {"content-type": "text/html"}, "HTTP 404: a web page: Sign in & go Your network asks."),
        (b"no healthy upstream", {"content-type": "text/plain"}, "HTTP 404: no healthy upstream"),
        (b"", {}, "HTTP 404: without a word"),
        (b"\x0b\x02\x80packed", {"content-encoding": "br"}, "HTTP 404: a body packed with br"),
        (b"\x0b\x02\x80\xff\x00" * 9, {"content-encoding": "snappy"}, "HTTP 404: a body packed with snappy"),
        (b"\x0b\x02\x80\xff\x00" * 9, {}, "HTTP 404: a body that is not text"),
        ({"error": {"code": 7}}, {}, '404: {"error": {"code": 7}}'),
        ({"error": "sk-platform-0123456789abcdef sk-or-v1-0123456789abcdef0123"}, {}, "HTTP 404: [key] [key]"),
        (
            b"<p>sk-pl<b></b>atform-0123456789abcdef</p>",
            {"content-type": "text/html"},
            "HTTP 404: a web page: [key]",
        ),
        ({"error": "a\x00b\u2028c\x1b[31m" + "d" * 9_000}, {}, "HTTP 404: a b c [31mddd"),
    ],
)
def test_a_refusals_reason_is_quoted_wherever_it_stands(provider, server, adapters, ask, body, headers, says):
    server.body, server.status, server.headers = body, 404, headers

    with pytest.raises(ProviderError) as caught:
        adapters[provider].call(ask())

    assert says in caught.value.message
    assert PLATFORM_KEY not in caught.value.message
    assert "prompt" not in caught.value.message
    assert len(caught.value.message) < 400 and caught.value.message.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        b"<" * 65_536,
        b"<a" * 30_000,
        b"<script>" * 8_000,
        b"<" + b"a" * 65_535,
        b"<a" + b"a " * 32_000,
        b"<!" + b"!" * 65_000,
        b"&#" + b"9" * 65_000,
        b"&#x" + b"9" * 65_000 + b";",
        b"&#00000000000065;" * 3_000,
        b"&" * 65_536,
        b"&#" * 30_000,
        b"Bearer " * 9_000,
        b"sk-" * 20_000,
        json.dumps({"error": "sk-a " * 13_000}).encode(),
        b"[" * 65_536,
        b'{"error":' * 7_000,
        json.dumps({"errors": [{"errors": ["x" * 100] * 100}] * 100}).encode(),
    ],
    ids=range(17),
)
def test_a_body_that_means_harm_takes_linear_time(body):
    began = time.thread_time()
    for media_type in ("text/html", "application/json"):
        reason_in(body, media_type=media_type, packed_with="", key=PLATFORM_KEY)
        what_came(body, media_type=media_type, packed_with="", key=PLATFORM_KEY, read=None)
    assert time.thread_time() - began < 2.0  # quadratic time would be minutes of CPU


def test_a_page_with_the_number_of_no_character_is_told_without_it():
    page = b"<html><h1>503 &#66;usy</h1>&#" + b"9" * 5_000 + b";</html>"
    assert reason_in(page, media_type="text/html", packed_with="", key=PLATFORM_KEY) == "a web page: 503 Busy"


@pytest.mark.parametrize(
    "secret", [PLATFORM_KEY, "AIzaSyA1234567890abcdefghijklmnopqrstuv", "sk-other-" + "1234567890abcdefgh" * 4]
)
def test_a_key_as_the_name_of_a_member_is_not_told(secret):
    told = what_came(b"{}", media_type="application/json", packed_with="", key=PLATFORM_KEY, read={secret: 1, "n": 2})
    assert secret not in told
    assert "[key], n" in told


def test_a_reason_that_is_nested_without_end_is_given_up():
    told: Any = "at the bottom"
    for _ in range(50):
        told = {"error": told}
    assert reason_of(told) == ""
    assert reason_of({"error": {"message": 5, "detail": [None, {"msg": "found"}]}}) == "found"
