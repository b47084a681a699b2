"""Stripe's client sends what Stripe takes, once, in time; its answers become our errors; the key shows nowhere."""

from __future__ import annotations

import json
import logging
import socket
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from errors import (
    BillerAnswerLostError,
    BillerAuthError,
    BillerError,
    BillerRefusedError,
    BillerUnavailableError,
    ConfigurationError,
    PermanentError,
    RetryableError,
)
from tests.support.shown import everything_shown
from tests.support.stripe_server import EVENT_NAME, KEY, MeterServer, meter_server
from workers.outbox.stripe_meter import MeterEvent, StripeMeter

NOW = datetime(2031, 3, 4, 0, 5, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[MeterServer]:
    with meter_server(lambda: NOW, "cus_1") as server:
        yield server


@pytest.fixture
def meter(server: MeterServer) -> Iterator[StripeMeter]:
    meter = StripeMeter(KEY, event_name=EVENT_NAME, base_url=server.url)
    yield meter
    meter.close()


def event(**facts: Any) -> MeterEvent:
    whole = {"identifier": "headrace-1", "customer": "cus_1", "value": 123, "timestamp": int(NOW.timestamp()) - 301}
    return MeterEvent(**{**whole, **facts})


def refused(meter: StripeMeter, one: MeterEvent) -> BillerError:
    with pytest.raises(BillerError) as caught:
        meter.record(one)
    return caught.value


def test_an_event_goes_out_as_stripe_wants_it(server: MeterServer, meter: StripeMeter) -> None:
    assert meter.record(event()) is True

    ((path, headers, form),) = server.asked
    assert path == "/v1/billing/meter_events"
    assert form == {
        "event_name": EVENT_NAME,
        "identifier": "headrace-1",
        "timestamp": str(int(NOW.timestamp()) - 301),
        "payload[stripe_customer_id]": "cus_1",
        "payload[value]": "123",
    }
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["stripe-version"] >= "2025-03-31"
    assert headers["idempotency-key"]
    assert "telemetry_id" not in headers["x-stripe-client-user-agent"]
    assert "platform" not in headers["x-stripe-client-user-agent"]
    assert server.total("cus_1") == 123


def test_an_event_that_stripe_has_is_told_apart_and_not_counted_again(server: MeterServer, meter: StripeMeter) -> None:
    assert meter.record(event()) is True
    assert meter.record(event()) is False
    assert (server.total("cus_1"), server.answered[400]) == (123, 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"customer": "cus_nobody"}, "No such customer"),
        ({"timestamp": int((NOW - timedelta(days=36)).timestamp())}, "35 days"),
        ({"timestamp": int((NOW + timedelta(hours=1)).timestamp())}, "future"),
        ({"value": 10**15}, "15 digits"),
        ({"identifier": "x" * 101}, "identifier"),
    ],
)
def test_a_shape_that_stripe_refuses_is_permanent_and_nothing_is_recorded(
    server: MeterServer, meter: StripeMeter, changes: dict[str, Any], says: str
) -> None:
    error = refused(meter, event(**changes))

    assert isinstance(error, BillerRefusedError)
    assert isinstance(error, PermanentError)
    assert (error.http_status, error.request_id, error.received) == (400, "req_1", False)
    assert says in error.message
    assert server.recorded == []


def test_another_meters_name_is_refused(server: MeterServer) -> None:
    error = refused(StripeMeter(KEY, event_name="another", base_url=server.url), event())

    assert isinstance(error, BillerRefusedError)
    assert "No active meter" in error.message


@pytest.mark.parametrize(
    ("fault", "kind", "received", "recorded"),
    [
        ("429", BillerUnavailableError, False, 0),
        ("500", BillerAnswerLostError, None, 0),
        ("recorded_then_500", BillerAnswerLostError, None, 1),
        ("dropped", BillerAnswerLostError, None, 0),
        ("cut", BillerAnswerLostError, None, 1),
    ],
)
def test_what_may_pass_is_retryable_and_says_whether_stripe_may_have_it(
    server: MeterServer, meter: StripeMeter, fault: str, kind: type[BillerError], received: bool | None, recorded: int
) -> None:
    server.faults.append(fault)

    error = refused(meter, event())

    assert type(error) is kind
    assert isinstance(error, RetryableError)
    assert error.received is received
    assert error.retry_after_s == (7 if fault == "429" else None)
    assert len(server.asked) == 1, "the client retries nothing by itself"
    assert len(server.recorded) == recorded
    assert meter.record(event()) is (recorded == 0), "the same identifier again does no harm"
    assert server.total("cus_1") == 123


def test_nobody_there_means_that_nothing_was_received() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and does not listen
        meter = StripeMeter(KEY, event_name=EVENT_NAME, base_url=f"http://127.0.0.1:{reserved.getsockname()[1]}")
        error = refused(meter, event())

    assert type(error) is BillerUnavailableError
    assert error.received is False


def test_an_answer_that_drips_for_ever_ends_with_the_deadline(server: MeterServer) -> None:
    server.faults.append("drip")
    meter = StripeMeter(KEY, event_name=EVENT_NAME, base_url=server.url, timeout_s=0.3)

    error = refused(meter, event())

    assert type(error) is BillerAnswerLostError
    assert meter.record(event()) is False, "it was recorded, though the answer was lost"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {}, BillerAnswerLostError),
        (200, {"object": "billing.meter_event", "identifier": "another"}, BillerAnswerLostError),
        (200, [], BillerAnswerLostError),
        (200, "<html>", BillerAnswerLostError),
        (400, {"error": ["no"]}, BillerAnswerLostError),
        (400, {"error": {"message": {"no": "text"}}}, BillerRefusedError),
        (400, {"error": {"message": "No", "code": "duplicate_meter_event"}}, None),
        (400, {"error": {"message": "An event already exists with identifier another."}}, BillerRefusedError),
        (403, {"error": {"message": None}}, BillerAuthError),
        (404, "<html>", BillerRefusedError),
        (302, "", BillerAnswerLostError),
        (503, "<html>", BillerAnswerLostError),
    ],
)
def test_answers_that_are_not_stripes_make_nobody_stumble(
    server: MeterServer, meter: StripeMeter, status: int, body: Any, kind: type[BillerError] | None
) -> None:
    server.says = status, (body if isinstance(body, str) else json.dumps(body)).encode()

    if kind is None:
        assert meter.record(event()) is False
    else:
        assert type(refused(meter, event())) is kind


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
def test_the_key_shows_nowhere(
    server: MeterServer, meter: StripeMeter, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    quoting = {"error": {"type": "some_error", "message": f"Invalid API Key provided: {KEY}"}, "echo": KEY}
    server.says = status, json.dumps(quoting).encode()

    error = refused(meter, event())

    if status != 200:
        assert "[key]" in error.message
    assert KEY not in everything_shown(error)
    assert KEY not in str(error.as_dict())
    assert KEY not in repr(meter)
    assert KEY not in caplog.text


def test_a_lost_connection_does_not_show_the_key(server: MeterServer, meter: StripeMeter) -> None:
    server.faults.append("cut")
    error = refused(meter, event())
    assert KEY not in everything_shown(error)
    assert KEY not in "".join(traceback.format_exception(error))


def test_a_wrong_key_is_told_as_such(server: MeterServer) -> None:
    error = refused(StripeMeter("sk_test_another", event_name=EVENT_NAME, base_url=server.url), event())

    assert isinstance(error, BillerAuthError)
    assert isinstance(error, PermanentError)
    assert "sk_test_another" not in error.message


@pytest.mark.parametrize("key", ["", "sk_test_x\n", "sk test", "sk_tést"])
def test_a_key_that_cannot_be_one_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        StripeMeter(key, event_name=EVENT_NAME)

    assert refused.value.field == "HEADRACE_STRIPE_API_KEY"
    assert not key or key not in str(refused.value)
