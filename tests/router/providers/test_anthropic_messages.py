"""Anthropic's adapter: what goes out, and what is made of what comes back."""

from __future__ import annotations

import pytest

from errors import ProviderMalformedAnswerError
from router.providers.calls import CallReply, Message, Usage
from tests.router.providers.conftest import anthropic_answer


@pytest.fixture
def anthropic(adapter_to, told):
    return adapter_to("anthropic", told.url)


def test_a_request_carries_everything(anthropic, told, ask):
    told.answer(anthropic_answer())
    request = ask(model="claude-haiku-5-5", max_output_tokens=77, end_user="a-pseudonym")

    anthropic.call(request)

    [(path, headers, body)] = told.requests
    assert path == "/v1/messages"
    assert body == {
        "model": "claude-haiku-5-5",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "How high is the weir?"}],
        "max_tokens": 77,
        "metadata": {"user_id": "a-pseudonym"},
        "service_tier": "standard_only",
    }
    assert headers["x-client-request-id"] == str(request.run_id)
    assert headers["content-type"] == "application/json"
    assert headers["anthropic-version"]


def test_an_answer_is_read_whole_with_the_cache_inside_the_input(anthropic, told, ask):
    told.answer(anthropic_answer(), request_id="req_abc")

    assert anthropic.call(ask()) == CallReply(
        text="Two metres.",
        usage=Usage(
            input_tokens=120, cached_input_tokens=70, cache_write_tokens=30, output_tokens=50, reasoning_tokens=40
        ),
        model="claude-haiku-5-5-20260901",
        provider_request_id="req_abc",
        finish="complete",
    )


def test_usage_without_a_cache_is_plain(anthropic, told, ask):
    usage = {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": None}
    told.answer(anthropic_answer(usage=usage))

    reply = anthropic.call(ask())

    assert reply.usage == Usage(9, 0, 0, 4, 0)
    assert reply.provider_request_id == "msg_1"


@pytest.mark.parametrize(
    ("stop_reason", "finish"),
    [
        ("end_turn", "complete"),
        ("stop_sequence", "complete"),
        ("a_reason_of_next_year", "complete"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
    ],
)
def test_the_reason_to_stop_becomes_ours(anthropic, told, ask, stop_reason, finish):
    told.answer(anthropic_answer(stop_reason=stop_reason))

    assert anthropic.call(ask()).finish == finish


def test_an_answer_that_cannot_be_read_is_malformed_and_costs_what_it_says(anthropic, told, ask):
    told.answer(anthropic_answer(content="text"), request_id="req_abc")

    with pytest.raises(ProviderMalformedAnswerError) as caught:
        anthropic.call(ask())

    assert caught.value.request_id == "req_abc"
    assert caught.value.usage == Usage(120, 70, 30, 50, 40)


def test_several_instructions_become_one(anthropic, told, ask):
    told.answer(anthropic_answer())
    messages = (
        Message("system", "One."),
        Message("user", "Hi"),
        Message("assistant", "Yes?"),
        Message("system", "Two."),
    )

    anthropic.call(ask(messages=messages))

    assert told.last_body["system"] == "One.\n\nTwo."
    assert [message["role"] for message in told.last_body["messages"]] == ["user", "assistant"]


def test_a_prompt_that_is_all_instruction_is_asked_by_the_user(anthropic, told, ask):
    told.answer(anthropic_answer())

    anthropic.call(ask(messages=(Message("system", "Write a haiku."),)))

    assert told.last_body["messages"] == [{"role": "user", "content": "Write a haiku."}]
    assert "system" not in told.last_body


def test_a_schema_is_enforced_by_the_provider(anthropic, told, ask):
    told.answer(anthropic_answer())

    anthropic.call(ask(output_schema={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}))

    assert told.last_body["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        }
    }


def test_a_schema_that_the_provider_does_not_take_is_asked_for_in_words(anthropic, told, ask):
    told.answer(anthropic_answer())

    anthropic.call(ask(output_schema={"type": "object", "additionalProperties": {"type": "number"}}))

    assert "output_config" not in told.last_body
    assert told.last_body["system"].startswith("Be brief.\n\n")
    assert '"additionalProperties"' in told.last_body["system"]


def test_a_long_answer_need_not_be_streamed(anthropic, told, ask):
    told.answer(anthropic_answer())

    anthropic.call(ask(max_output_tokens=60_000))

    assert told.last_body["max_tokens"] == 60_000
