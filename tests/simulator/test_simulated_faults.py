"""Every fault, as the SDK sees it and as the journal tells it."""

from __future__ import annotations

import json
import socket

import anthropic
import httpx2
import openai
import pytest

from simulator.protocol.delivery import DeliveryPace
from simulator.protocol.faults import Behaviour, Behaviours, Faults

OPENAI_ERRORS = {
    "429": (openai.RateLimitError, 429, "rate_limit_exceeded"),
    "500": (openai.InternalServerError, 500, None),
    "529": (openai.InternalServerError, 529, "server_is_overloaded"),
    "400": (openai.BadRequestError, 400, None),
    "auth": (openai.AuthenticationError, 401, "invalid_api_key"),
}
ANTHROPIC_ERRORS = {
    "429": (anthropic.RateLimitError, 429, "rate_limit_error"),
    "500": (anthropic.InternalServerError, 500, "api_error"),
    "529": (anthropic.OverloadedError, 529, "overloaded_error"),
    "400": (anthropic.BadRequestError, 400, "invalid_request_error"),
    "auth": (anthropic.AuthenticationError, 401, "authentication_error"),
}


@pytest.mark.parametrize("fault", OPENAI_ERRORS)
def test_openai_error(simulator, ask_openai, fault):
    kind, status, code = OPENAI_ERRORS[fault]
    simulator.behave(openai={"fault": fault})
    with pytest.raises(kind) as caught:
        ask_openai()

    assert (caught.value.status_code, caught.value.code) == (status, code)
    [entry] = simulator.journal()
    assert (entry["status"], entry["fault"], entry["request_id"]) == (status, fault, caught.value.request_id)
    assert (entry["input_tokens"], entry["output_tokens"]) == (0, 0)


@pytest.mark.parametrize("fault", ANTHROPIC_ERRORS)
def test_anthropic_error(simulator, ask_anthropic, fault):
    kind, status, name = ANTHROPIC_ERRORS[fault]
    simulator.behave(anthropic={"fault": fault})
    with pytest.raises(kind) as caught:
        ask_anthropic()

    assert (caught.value.status_code, caught.value.type) == (status, name)
    assert caught.value.body["request_id"] == caught.value.request_id
    [entry] = simulator.journal()
    assert (entry["status"], entry["fault"], entry["request_id"]) == (status, fault, caught.value.request_id)
    assert (entry["input_tokens"], entry["output_tokens"]) == (0, 0)


@pytest.mark.parametrize(("given", "sent"), [(2, "2"), (0.5, "0.5"), (None, None)])
def test_a_rate_limit_says_when_to_come_back_if_told_to(simulator, ask_openai, ask_anthropic, given, sent):
    fault = {"fault": "429", "retry_after_s": given}
    simulator.behave(openai=fault, anthropic=fault)
    for ask, kind in ((ask_openai, openai.RateLimitError), (ask_anthropic, anthropic.RateLimitError)):
        with pytest.raises(kind) as caught:
            ask()

        assert caught.value.response.headers.get("retry-after") == sent


def test_a_cut_answer_breaks_off_and_is_billed(simulator, ask_openai, ask_anthropic):
    whole = ask_openai().usage
    simulator.behave(openai={"fault": "cut"}, anthropic={"fault": "cut"})
    for ask, kind in ((ask_openai, openai.APIConnectionError), (ask_anthropic, httpx2.RemoteProtocolError)):
        with pytest.raises((kind, anthropic.APIConnectionError)) as caught:
            ask()

        assert not isinstance(caught.value, openai.APITimeoutError | anthropic.APITimeoutError)

    _, openai_entry, anthropic_entry = simulator.journal()
    assert (openai_entry["status"], openai_entry["fault"]) == (0, "cut")
    assert (openai_entry["input_tokens"], openai_entry["output_tokens"]) == (whole.input_tokens, whole.output_tokens)
    assert anthropic_entry["status"] == 0
    assert anthropic_entry["output_tokens"] > 0


def test_half_of_a_cut_answer_arrives(simulator):
    simulator.behave(openai={"fault": "cut"})
    head, body = raw_call(simulator, until_closed=True)

    assert b" 200 " in head.split(b"\r\n")[0]
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == promised // 2


def test_a_malformed_answer_is_200_without_json(simulator, ask_openai, ask_anthropic):
    simulator.behave(openai={"fault": "malformed"}, anthropic={"fault": "malformed"})
    for ask in (ask_openai, ask_anthropic):
        with pytest.raises(json.JSONDecodeError):
            ask()

    for entry in simulator.journal():
        assert (entry["status"], entry["fault"]) == (200, "malformed")
        assert entry["output_tokens"] > 0


def test_a_malformed_stream_breaks_in_an_event(simulator, openai_sdk):
    simulator.behave(openai={"fault": "malformed"})
    stream = openai_sdk.responses.create(model="gpt-5.4", input="Hi", stream=True)

    with pytest.raises(json.JSONDecodeError):
        list(stream)


def test_a_hanging_call_ends_when_the_client_leaves(simulator, ask_openai, ask_anthropic):
    simulator.behave(openai={"fault": "hang"}, anthropic={"fault": "hang"})
    with pytest.raises(openai.APITimeoutError):
        ask_openai(timeout=0.1)
    with pytest.raises(anthropic.APITimeoutError):
        ask_anthropic(timeout=0.1)

    for entry in simulator.journal_with(2):
        assert (entry["status"], entry["fault"]) == (0, "hang")
        assert entry["input_tokens"] > 0


def test_a_call_that_hangs_to_the_end_is_timed_out_by_the_server(serve_here):
    with serve_here(pace=DeliveryPace(hang_s=0.05)) as simulator:
        simulator.behave(anthropic={"fault": "hang"})
        body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        response = simulator.control.post("/v1/messages", json=body, headers={"x-api-key": "k"})

        assert response.status_code == 504
        assert response.json()["error"]["type"] == "timeout_error"
        [entry] = simulator.journal()
        assert (entry["status"], entry["output_tokens"]) == (504, 0)


def test_a_dripping_answer_comes_byte_by_byte_until_the_client_leaves(simulator):
    simulator.behave(openai={"fault": "drip"})
    _, body = raw_call(simulator, body_bytes=3)

    assert body == b'{"i'
    [entry] = simulator.journal_with(1)
    assert (entry["status"], entry["fault"]) == (0, "drip")
    assert entry["output_tokens"] > 0


@pytest.mark.parametrize("pace", [DeliveryPace(drip_every_s=0.0001), DeliveryPace(drip_every_s=0.01, drip_s=0.05)])
def test_a_dripping_answer_is_valid_once_it_is_all_there(serve_here, pace):
    with serve_here(pace=pace) as simulator:
        simulator.behave(openai={"fault": "drip"})
        sdk = openai.OpenAI(api_key="k", base_url=f"{simulator.url}/v1", max_retries=0)
        response = sdk.responses.create(model="gpt-5.4", input="Hi")

        assert response.status == "completed"
        [entry] = simulator.journal()
        assert (entry["status"], entry["output_tokens"]) == (200, response.usage.output_tokens)


def test_a_slow_answer_that_nobody_waits_for_is_billed(simulator, ask_openai):
    simulator.behave(openai={"latency_ms": 60_000})
    with pytest.raises(openai.APITimeoutError):
        ask_openai(timeout=0.1)

    [entry] = simulator.journal_with(1)
    assert (entry["status"], entry["fault"]) == (0, "none")
    assert entry["output_tokens"] > 0


def test_a_slow_error_that_nobody_waits_for_is_not(simulator, ask_openai):
    simulator.behave(openai={"latency_ms": 60_000, "fault": "500"})
    with pytest.raises(openai.APITimeoutError):
        ask_openai(timeout=0.1)

    [entry] = simulator.journal_with(1)
    assert (entry["status"], entry["input_tokens"]) == (0, 0)


def test_latency_is_drawn_evenly_from_its_range():
    faults = Faults(seed=3)
    faults.set(Behaviours(openai=Behaviour(latency_ms=(100.0, 300.0))))
    drawn = [faults.draw("openai").latency_s for _ in range(400)]

    assert all(0.1 <= latency <= 0.3 for latency in drawn)
    assert 0.18 < sum(drawn) / len(drawn) < 0.22
    assert faults.draw("anthropic").latency_s == 0


def test_a_slow_answer_arrives_after_all(simulator, ask_openai):
    simulator.behave(openai={"latency_ms": 30})

    assert ask_openai().status == "completed"
    assert [entry["status"] for entry in simulator.journal()] == [200]


def test_a_fault_of_one_provider_leaves_the_other_alone(simulator, ask_openai, ask_anthropic):
    simulator.behave(openai={"fault": "500"})

    assert ask_anthropic().stop_reason == "end_turn"
    with pytest.raises(openai.InternalServerError):
        ask_openai()


def raw_call(simulator, *, body_bytes: int = 0, until_closed: bool = False) -> tuple[bytes, bytes]:
    """Head and body of an answer, read from the socket as it comes."""
    request = json.dumps({"model": "gpt-5.4", "input": "Hi"}).encode()
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(request), request)
        )
        received = b""
        while True:
            head, end, body = received.partition(b"\r\n\r\n")
            if end and not until_closed and len(body) >= body_bytes:
                return head, body
            if not (more := connection.recv(65_536)):
                return head, body
            received += more
