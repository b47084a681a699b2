"""Every way a call fails is one of our errors, for both providers, with the SDK's exception as its cause."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from email.utils import formatdate

import httpx2
import pytest

from errors import (
    NotNowError,
    PermanentError,
    ProviderAnswerLostError,
    ProviderAuthError,
    ProviderForbiddenError,
    ProviderMalformedAnswerError,
    ProviderNotSentError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderRequestTooLargeError,
    ProviderUnavailableError,
    ProviderUnreachableError,
    RetryableError,
)
from router.http.retry_after import LONGEST_WAIT_S, retry_after_s
from router.providers.calls import Message
from router.providers.failures import without_answer
from router.providers.server import ServerHabits
from tests.support.refusing_server import refusal, request_read


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRefusedError),
        (401, ProviderAuthError),
        (402, ProviderQuotaError),
        (403, ProviderForbiddenError),
        (404, ProviderRefusedError),
        (408, ProviderUnavailableError),
        (409, ProviderUnavailableError),
        (413, ProviderRequestTooLargeError),
        (422, ProviderRefusedError),
        (429, ProviderRateLimitedError),
        (500, ProviderUnavailableError),
        (502, ProviderUnavailableError),
        (503, ProviderUnavailableError),
        (504, ProviderAnswerLostError),
        (520, ProviderAnswerLostError),
        *((status, ProviderUnavailableError) for status in (521, 522, 523, 525, 526, 530)),
        (524, ProviderAnswerLostError),
        (529, ProviderUnavailableError),
    ],
)
def test_a_status_becomes_its_error(provider, adapter_to, told, ask, status, kind):
    told.answer(refusal(provider, "some_error"), status, x_request_id="req_1", request_id="req_1")

    with pytest.raises(kind) as caught:
        adapter_to(provider, told.url, habits=ServerHabits(retries=False)).call(ask())

    error = caught.value
    assert type(error) is kind
    assert (error.provider, error.http_status, error.request_id) == (provider, status, "req_1")
    assert "because" in error.message
    assert type(error.__cause__).__module__.startswith(provider)
    assert sum(isinstance(error, one) for one in (RetryableError, PermanentError, NotNowError)) == 1
    assert len(told.requests) == 1  # a retry is never the SDK's


@pytest.mark.parametrize(
    ("of", "status", "kind", "message"),
    [
        ("openai", 429, "insufficient_quota", "You exceeded your current quota."),
        ("openai", 400, "billing_hard_limit_reached", "Billing hard limit."),
        ("anthropic", 400, "invalid_request_error", "Your credit balance is too low to access the API."),
        ("anthropic", 402, "billing_error", "Pay."),
    ],
)
def test_no_money_left_is_no_rate_limit(adapter_to, told, ask, of, status, kind, message):
    told.answer(refusal(of, kind, message), status)

    with pytest.raises(ProviderQuotaError):
        adapter_to(of, told.url).call(ask())


def test_a_request_that_no_rate_lets_through_is_no_rate_limit(adapter_to, told, ask):
    told.answer(
        refusal("openai", "rate_limit_exceeded", "Request too large for gpt-x: Limit 30000, Requested 41000."), 429
    )

    with pytest.raises(ProviderRequestTooLargeError):
        adapter_to("openai", told.url).call(ask())


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (403, "unsupported_country_region_territory", ProviderForbiddenError),
        (403, "model_not_found", ProviderForbiddenError),
        (403, "permission_error", ProviderForbiddenError),
        (403, "authentication_error", ProviderAuthError),
        (400, "invalid_api_key", ProviderAuthError),
        (400, "context_length_exceeded", ProviderRequestTooLargeError),
    ],
)
def test_only_an_authentication_error_is_one(provider, adapter_to, told, ask, status, kind, error):
    told.answer(refusal(provider, kind), status)

    with pytest.raises(error) as caught:
        adapter_to(provider, told.url).call(ask())

    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ProviderForbiddenError),
        (403, ProviderForbiddenError),
        (413, ProviderRequestTooLargeError),
        (429, ProviderRateLimitedError),
        (503, ProviderUnavailableError),
        (522, ProviderUnavailableError),
    ],
)
def test_a_gateways_page_is_not_a_keys_failure(provider, adapter_to, told, ask, status, kind):
    told.answer(b"<html><h1>Sorry, you have been blocked</h1></html>", status, content_type="text/html; charset=UTF-8")

    with pytest.raises(kind) as caught:
        adapter_to(provider, told.url).call(ask())

    assert (type(caught.value), caught.value.http_status) == (kind, status)


def test_a_rate_limit_says_how_long_to_wait(provider, adapter_to, told, ask):
    told.answer(refusal(provider, "rate_limit_error"), 429, retry_after="17")

    with pytest.raises(ProviderRateLimitedError) as caught:
        adapter_to(provider, told.url).call(ask())

    assert caught.value.retry_after_s == 17.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "nonsense"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 0001 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST_WAIT_S),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 2026 25:61:61 +9999"}, None),
        ({"retry-after": "3600"}, 3600.0),
        ({"retry-after": "86400"}, LONGEST_WAIT_S),
        ({"retry-after": "10000000000000"}, LONGEST_WAIT_S),
        ({"retry-after": "9" * 5_000}, LONGEST_WAIT_S),
        ({"retry-after": "x" * 1_000_000}, None),
        ({"retry-after": "1e300"}, LONGEST_WAIT_S),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "1e300"}, LONGEST_WAIT_S),
        ({"retry-after-ms": "nan", "retry-after": "4"}, 4.0),
    ],
)
def test_retry_after_is_read_from_the_usual_headers(headers, seconds):
    assert retry_after_s(headers) == seconds


def test_retry_after_may_be_a_date():
    seconds = retry_after_s({"retry-after": formatdate(time.time() + 3_600, usegmt=True)})

    assert seconds is not None
    assert 3_000 < seconds <= 3_600


def test_unix_time_is_the_moment_to_come_back():
    assert retry_after_s({"retry-after": f"{time.time() + 30:.0f}"}) == pytest.approx(30, abs=3)
    assert retry_after_s({"retry-after": f"{time.time() - 30:.0f}"}) == 0.0
    assert retry_after_s({"retry-after": f"{time.time() + 90_000:.0f}"}) == LONGEST_WAIT_S


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b'{"error": "text"}',
        b"[1]",
        b'{"error": {"message": 5, "type": [1], "code": {}}}',
        b"[" * 30_000 + b"]" * 30_000,
        b'{"error": ' * 10_000,
        b"9" * 5_000,
        b'"\\ud800"',
        b"\xff\xfe\x00",
        b"x" * 5_000_000,
    ],
    ids=range(11),
)
def test_an_error_page_of_any_shape_is_translated(provider, adapter_to, told, ask, body):
    told.answer(body, 503)

    with pytest.raises(ProviderUnavailableError):
        adapter_to(provider, told.url).call(ask())


def test_a_long_error_text_is_cut(provider, adapter_to, told, ask):
    told.answer(refusal(provider, "some_error", "blah " * 5_000), 400)

    with pytest.raises(ProviderRefusedError) as caught:
        adapter_to(provider, told.url).call(ask())

    assert len(str(caught.value)) < 400


def test_a_redirect_is_not_followed(provider, adapter_to, told, ask):
    told.answer({}, 307, location=f"{told.url}/elsewhere")

    with pytest.raises(ProviderRefusedError):
        adapter_to(provider, told.url).call(ask())

    assert len(told.requests) == 1


@pytest.mark.parametrize("body", [b"", b'{"id": "resp_', b"<html></html>", b"null", b"[]", b"\xff\xfe"])
def test_a_broken_answer_is_malformed_and_may_have_been_billed(provider, adapter_to, told, ask, body):
    told.answer(body)

    with pytest.raises(ProviderMalformedAnswerError) as caught:
        adapter_to(provider, told.url).call(ask())

    assert caught.value.billable is None
    assert caught.value.__cause__ is not None


def test_an_answer_with_broken_compression_is_malformed(provider, adapter_to, told, ask):
    told.answer(gzip.compress(b"{}")[:-9] + b"garbage!!", content_encoding="gzip")

    with pytest.raises(ProviderMalformedAnswerError):
        adapter_to(provider, told.url).call(ask())


def test_no_listener_means_nothing_was_sent(provider, adapter_to, ask):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(ProviderUnreachableError) as caught:
            adapter_to(provider, url).call(ask())

    assert caught.value.billable is False


def test_a_host_that_does_not_exist_means_nothing_was_sent(provider, adapter_to, ask):
    with pytest.raises(ProviderUnreachableError):
        adapter_to(provider, "http://no-such-host.invalid").call(ask())


def proxied(monkeypatch, adapter_to, provider: str, url: str):
    """An adapter that has to go through the proxy at ``url`` to a server that speaks TLS."""
    monkeypatch.setenv("https_proxy", url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    return adapter_to(provider, "https://provider.invalid")


@pytest.mark.parametrize("said", [b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", b"", b"nonsense\r\n\r\n"])
def test_what_gets_no_further_than_the_proxy_was_not_sent(monkeypatch, provider, adapter_to, wire, ask, said):
    def refuse(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65_536)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)

    with pytest.raises(ProviderUnreachableError) as caught:
        proxied(monkeypatch, adapter_to, provider, wire(refuse).url).call(ask())

    assert (caught.value.billable, caught.value.timed_out) == (False, False)


def test_a_server_that_speaks_no_tls_was_sent_nothing(provider, adapter_to, told, ask):
    with pytest.raises(ProviderUnreachableError):
        adapter_to(provider, told.url.replace("http://", "https://")).call(ask())

    assert told.requests == []


def test_a_connection_that_is_not_made_in_time_says_so(provider, ask, monkeypatch, adapter_to, wire):
    def say_nothing(connection: socket.socket, stopped: threading.Event) -> None:
        stopped.wait(20)

    with pytest.raises(ProviderUnreachableError) as caught:
        proxied(monkeypatch, adapter_to, provider, wire(say_nothing).url).call(ask(timeout_s=0.3))

    assert caught.value.timed_out


@pytest.mark.parametrize(
    "cause",
    [
        httpx2.LocalProtocolError("Illegal header value b'ada '"),
        httpx2.UnsupportedProtocol("ftp"),
        httpx2.InvalidURL("?"),
        UnicodeEncodeError("ascii", "é", 0, 1, "?"),
        None,
    ],
)
def test_what_our_side_of_the_socket_refuses_costs_nothing_and_is_not_repeated(cause):
    failure = without_answer("openai", cause, sent=False)

    assert type(failure) is ProviderNotSentError
    assert failure.billable is False
    assert isinstance(failure, PermanentError)


def test_a_request_that_cannot_be_written_costs_nothing(provider, adapter_to, told, ask):
    with pytest.raises(ProviderNotSentError) as caught:
        adapter_to(provider, told.url).call(ask(messages=(Message("user", object()),)))

    assert isinstance(caught.value.__cause__, TypeError)
    assert told.requests == []


@pytest.mark.parametrize("cause", [httpx2.LocalProtocolError("?"), httpx2.ReadError("?"), httpx2.WriteError("?"), None])
def test_once_a_byte_has_left_an_answer_may_have_been_billed(cause):
    assert without_answer("openai", cause, sent=True).billable is None


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", b"nonsense\r\n\r\n"],
)
def test_an_answer_that_breaks_off_is_lost_and_may_have_been_billed(provider, adapter_to, wire, ask, sent):
    def cut(connection: socket.socket, _: threading.Event) -> None:
        request_read(connection)
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)

    with pytest.raises(ProviderAnswerLostError) as caught:
        adapter_to(provider, wire(cut).url).call(ask())

    assert type(caught.value) is ProviderAnswerLostError
    assert caught.value.billable is None


def test_a_reset_after_the_request_is_a_lost_answer(provider, adapter_to, wire, ask):
    def reset(connection: socket.socket, _: threading.Event) -> None:
        request_read(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with pytest.raises(ProviderAnswerLostError):
        adapter_to(provider, wire(reset).url).call(ask())
