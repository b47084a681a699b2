"""The gateway: the right provider, behind its breaker."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from errors import BreakerOpenError, ConfigurationError, NoProviderKeyError, ProviderUnreachableError
from prompts.messages import Message
from router.breakers import Breakers
from router.gateway import Gateway, build_providers
from router.pace import ALWAYS_A_CHANCE_S, Pace
from router.providers.calls import CallReply, CallRequest, Usage
from router.routes import Target

REQUEST = CallRequest(
    run_id=UUID(int=1),
    job_id=UUID(int=2),
    tenant_id="t",
    end_user="u",
    feature="chat",
    model="a",
    messages=(Message("user", "hello"),),
    max_output_tokens=10,
    output_schema=None,
    timeout_s=5.0,
)


class Recorder:
    """A provider of the protocol's second kind: it answers at once and remembers what it was asked."""

    name = "openai"

    def __init__(self) -> None:
        self.asked: list[CallRequest] = []

    def call(self, request: CallRequest) -> CallReply:
        self.asked.append(request)
        return CallReply("hi", Usage(1, 0, 0, 1, 0), request.model, None, "complete")


def breakers() -> Breakers:
    return Breakers(fail_max=2, reset_s=60.0)


def test_the_target_decides_provider_and_model():
    openai, anthropic = Recorder(), Recorder()
    gateway = Gateway({"openai": openai, "anthropic": anthropic}, breakers())

    reply = gateway.call(Target("anthropic", "b"), REQUEST)

    assert reply.model == "b"
    assert openai.asked == []
    assert [asked.model for asked in anthropic.asked] == ["b"]


def test_a_provider_without_a_key_is_named():
    gateway = Gateway({"openai": Recorder()}, breakers())

    with pytest.raises(NoProviderKeyError) as caught:
        gateway.call(Target("anthropic", "b"), REQUEST)

    assert caught.value.value == "anthropic"
    assert "openai" in str(caught.value.hint)


def test_a_provider_that_fails_is_left_alone_and_the_other_is_not():
    providers = build_providers("sk-key", "http://127.0.0.1:9/v1", None, None)
    gateway = Gateway({**providers, "anthropic": Recorder()}, breakers())
    for _ in range(2):
        with pytest.raises(ProviderUnreachableError):
            gateway.call(Target("openai", "a"), REQUEST)

    with pytest.raises(BreakerOpenError):
        gateway.call(Target("openai", "a"), REQUEST)

    assert gateway.call(Target("anthropic", "b"), REQUEST).text == "hi"


class Slow(Recorder):
    """Answers after a while."""

    def call(self, request: CallRequest) -> CallReply:
        time.sleep(0.02)
        return super().call(request)


def test_a_call_is_hopeless_once_every_answer_took_longer_than_is_left():
    gateway, target = Gateway({"openai": Slow()}, breakers()), Target("openai", "a")
    for _ in range(19):
        gateway.call(target, REQUEST)
    assert not gateway.hopeless(target, 0.0)  # too little is known

    gateway.call(target, REQUEST)

    assert gateway.hopeless(target, 0.01)
    assert not gateway.hopeless(target, ALWAYS_A_CHANCE_S)
    assert not gateway.hopeless(Target("openai", "another"), 0.01)


def test_slow_answers_take_no_chance_from_a_quick_job():
    pace, target = Pace(), Target("openai", "a")
    for _ in range(100):
        pace.answered(target, 20.0)
    assert pace.least_s(target) == ALWAYS_A_CHANCE_S


def test_only_providers_with_a_key_are_built():
    assert build_providers(None, None, "", None) == {}
    assert set(build_providers(None, None, "sk-ant", None)) == {"anthropic"}
    assert set(build_providers("sk-1", None, "sk-2", "https://gateway.example/anthropic")) == {"openai", "anthropic"}


def test_a_base_url_without_a_scheme_is_named():
    with pytest.raises(ConfigurationError) as caught:
        build_providers("sk-1", "localhost:8080", None, None)

    assert caught.value.field == "openai_base_url"


def test_a_key_that_cannot_be_one_is_named_but_not_shown():
    with pytest.raises(ConfigurationError) as caught:
        build_providers(None, None, "sk-ant-secret\n", None)

    assert caught.value.field == "anthropic_api_key"
    assert "secret" not in str(caught.value)
