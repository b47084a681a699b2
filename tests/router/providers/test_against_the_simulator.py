"""Both adapters, over the real SDKs, against the provider simulator; its journal says what would have been billed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from errors import (
    ProviderAnswerLostError,
    ProviderAnswerTooLargeError,
    ProviderAuthError,
    ProviderEmptyAnswerError,
    ProviderMalformedAnswerError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from router.providers.calls import Message
from router.providers.server import ServerHabits
from router.tokens import input_token_bound

MODELS = {"openai": "gpt-6-luna", "anthropic": "claude-haiku-5-5"}
ROOT = Path(__file__).parents[3]


class Simulator:
    """The simulator's control interface."""

    def __init__(self, url: str) -> None:
        self.url = url

    def behave(self, provider: str, **behaviour: Any) -> None:
        self._send("PUT", "/_sim/behaviour", {provider: behaviour})

    def billed(self, run_id: object) -> dict[str, Any]:
        """The journal's entry of a run."""
        [entry] = [entry for entry in self._send("GET", "/_sim/journal") if entry["client_request_id"] == str(run_id)]
        return entry

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, method=method), timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    port_file = tmp_path_factory.mktemp("simulator") / "port"
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", "0", "--port-file", str(port_file)], cwd=ROOT
    )
    give_up_at = time.monotonic() + 30
    while not (port_file.exists() and port_file.read_text().strip()):
        assert process.poll() is None, "the simulator did not start"
        assert time.monotonic() < give_up_at, "the simulator did not listen in time"
        threading.Event().wait(0.02)
    yield Simulator(f"http://127.0.0.1:{int(port_file.read_text())}")
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture
def simulator(running):
    yield running
    for provider in MODELS:
        running.behave(provider, fault="none", latency_ms=0)


@pytest.fixture
def adapter(provider, adapter_to, simulator):
    return adapter_to(provider, simulator.url)


@pytest.fixture
def request_(provider, ask):
    """A request for the provider at hand, under a run id of its own."""
    return lambda **changes: ask(run_id=uuid4(), model=MODELS[provider], **changes)


def test_a_call_is_answered_and_its_usage_is_what_is_billed(provider, adapter, request_, simulator):
    request = request_()

    reply = adapter.call(request)

    billed = simulator.billed(request.run_id)
    assert reply.text
    assert reply.finish == "complete"
    assert reply.model.startswith(MODELS[provider])
    assert reply.provider_request_id == billed["request_id"]
    assert reply.simulated
    assert reply.usage.input_tokens == billed["input_tokens"] > 0
    assert reply.usage.output_tokens == billed["output_tokens"] > 0
    assert reply.usage.cached_input_tokens == billed["cached_input_tokens"]
    assert reply.usage.cache_write_tokens == billed["cache_write_tokens"]
    assert reply.usage.input_tokens <= input_token_bound(provider, request.model, request.messages)


def test_a_setting_of_the_account_chooses_no_dearer_tier_than_was_asked_for(
    provider, adapter, adapter_to, request_, simulator
):
    simulator.behave(provider, service_tier="priority")
    try:
        assert adapter.call(request_()).usage.tier is None
        unasked = adapter_to(provider, simulator.url, habits=ServerHabits(takes_tags=False))
        assert unasked.call(request_()).usage.tier == "priority"
    finally:
        simulator.behave(provider, service_tier=None)


def test_an_answer_is_cut_at_its_limit(adapter, request_):
    reply = adapter.call(request_(max_output_tokens=16, messages=(Message("user", "Tell me a long story."),)))

    assert reply.finish == "length"
    assert reply.usage.output_tokens <= 16


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["city", "n"],
        },
        {
            "type": "object",
            "properties": {"size": {"type": ["number", "null"]}, "kind": {"enum": ["a", "b"]}},
            "required": ["size", "kind"],
            "additionalProperties": False,
        },
    ],
    ids=["open", "closed"],
)
def test_an_output_schema_is_kept(adapter, request_, schema):
    reply = adapter.call(request_(output_schema=schema, max_output_tokens=400))

    Draft202012Validator(schema).validate(json.loads(reply.text))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("429", ProviderRateLimitedError),
        ("500", ProviderUnavailableError),
        ("529", ProviderUnavailableError),
        ("auth", ProviderAuthError),
        ("malformed", ProviderMalformedAnswerError),
        ("cut", ProviderAnswerLostError),
        ("hang", ProviderTimeoutError),
        ("drip", ProviderTimeoutError),
    ],
)
def test_a_fault_is_the_error_that_it_means_and_so_is_its_bill(provider, adapter, request_, simulator, fault, kind):
    simulator.behave(provider, fault=fault, retry_after_s=7)
    request = request_(timeout_s=0.5)

    with pytest.raises(kind) as caught:
        adapter.call(request)

    assert type(caught.value) is kind
    assert caught.value.retry_after_s == (7.0 if fault == "429" else None)
    if fault in {"429", "500", "529", "auth"}:
        assert caught.value.billable is False
        assert simulator.billed(request.run_id)["input_tokens"] == 0
    else:
        assert caught.value.billable is None


@pytest.mark.parametrize(
    ("fault", "kind", "billable"),
    [
        ("flood", ProviderAnswerTooLargeError, None),
        ("bomb", ProviderAnswerTooLargeError, None),
        ("empty", ProviderEmptyAnswerError, True),
        ("error_200", ProviderUnavailableError, False),
    ],
)
def test_an_answer_that_is_none_ends_typed(adapter, provider, request_, simulator, fault, kind, billable):
    simulator.behave(provider, fault=fault)
    request = request_()

    with pytest.raises(kind) as caught:
        adapter.call(request)

    assert (type(caught.value), caught.value.billable) == (kind, billable)
    billed = simulator.billed(request.run_id)
    assert (billed["output_tokens"] > 0) is (billable is not False)
    if billable:
        assert caught.value.usage.output_tokens == billed["output_tokens"]


def test_an_absurd_usage_comes_through_as_it_is_said(adapter, provider, request_, simulator):
    simulator.behave(provider, fault="absurd_usage")

    assert adapter.call(request_()).usage.output_tokens == 100_000_000  # the books know the call's bound


def test_latency_beyond_the_timeout_ends_the_call(provider, adapter, request_, simulator):
    simulator.behave(provider, latency_ms=600_000)

    with pytest.raises(ProviderTimeoutError):
        adapter.call(request_(timeout_s=0.5))


def test_a_fault_that_passes_leaves_no_trace(provider, adapter, request_, simulator):
    simulator.behave(provider, fault="cut", fault_count=1)
    with pytest.raises(ProviderAnswerLostError):
        adapter.call(request_())

    assert adapter.call(request_()).finish == "complete"


def test_many_threads_share_one_adapter(adapter, request_, simulator):
    requests = [request_(messages=(Message("user", f"Number {n}?"),)) for n in range(40)]

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(adapter.call, requests))

    for request, reply in zip(requests, replies, strict=True):
        billed = simulator.billed(request.run_id)
        assert (reply.usage.input_tokens, reply.provider_request_id) == (billed["input_tokens"], billed["request_id"])
